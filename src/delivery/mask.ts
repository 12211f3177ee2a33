/** An address as logs, audits and the API show it: enough to recognise, too little to use. */
export function maskAddress(address: string): string {
  const at = address.lastIndexOf('@');
  if (at > 0) return `${address.slice(0, 1)}***${address.slice(at)}`;
  if (address.startsWith('+')) return `${address.slice(0, 3)}***${address.slice(-2)}`;
  const host = URL.parse(address)?.host;
  if (host) return `https://${host}/***`;
  return address.length > 8 ? `${address.slice(0, 4)}***` : '***';
}
