/** An address as logs, audits and the API show it: enough to recognise, too little to use. */
export function maskAddress(address: string): string {
  // By characters: half a surrogate pair is something that the database does not take.
  const characters = [...address];
  const at = address.lastIndexOf('@');
  if (at > 0) return `${characters[0]}***${address.slice(at)}`;
  if (address.startsWith('+')) return `${address.slice(0, 3)}***${address.slice(-2)}`;
  const host = URL.parse(address)?.host;
  if (host) return `https://${host}/***`;
  return characters.length > 8 ? `${characters.slice(0, 4).join('')}***` : '***';
}
