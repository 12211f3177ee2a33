/** Masks an address for logs, audits and the API: recognisable, but not usable. */
export function maskAddress(address: string): string {
  // Splits by code point, because the database refuses half a surrogate pair.
  const characters = [...address];
  const at = address.lastIndexOf('@');
  if (at > 0) return `${characters[0]}***${address.slice(at)}`;
  if (address.startsWith('+')) return `${address.slice(0, 3)}***${address.slice(-2)}`;
  const host = URL.parse(address)?.host;
  if (host) return `https://${host}/***`;
  return characters.length > 8 ? `${characters.slice(0, 4).join('')}***` : '***';
}
