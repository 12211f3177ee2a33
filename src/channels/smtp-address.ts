import { domainToASCII } from 'node:url';

// oxlint-disable-next-line no-control-regex -- all of ASCII
const ASCII = /^[\u0000-\u007f]*$/;

function split(address: string): { local: string; domain: string } {
  const at = address.lastIndexOf('@');
  return at === -1 ? { local: address, domain: '' } : { local: address.slice(0, at), domain: address.slice(at + 1) };
}

/** Returns a domain in its ASCII form (A-labels, RFC 5890), or unchanged if it has none. */
export const asciiDomain = (domain: string): string => (ASCII.test(domain) ? domain : domainToASCII(domain) || domain);

/** Returns an address as SMTP transmits it: with an ASCII domain, unless SMTPUTF8 is needed for the mailbox anyway. */
function smtpAddress(address: string): string {
  const { local, domain } = split(address);
  return ASCII.test(local) && domain !== '' ? `${local}@${asciiDomain(domain)}` : address;
}

export const envelopeOf = ({ from, to }: { from: string; to: string }): { from: string; to: string } => ({
  from: smtpAddress(from),
  to: smtpAddress(to),
});

/** True if the relay must support SMTPUTF8 (RFC 6531) to take a mail from or to an address. */
export const needsSmtpUtf8 = (address: string): boolean => !ASCII.test(smtpAddress(address));
