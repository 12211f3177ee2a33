/**
 * Use of TLS on a connection that begins unencrypted.
 *
 * - `required`: STARTTLS with a valid certificate. Otherwise the relay gets neither login nor mail.
 * - `opportunistic`: STARTTLS if the relay offers it. Without a login, its certificate is not verified, as with the level
 *   `may` of Postfix, because an attacker could remove the offer anyway.
 * - `none`: no TLS.
 */
export type TlsPolicy = 'required' | 'opportunistic' | 'none';

export interface TlsSettings {
  tls?: TlsPolicy;
  secure?: boolean;
  ca?: string;
  user?: string;
}

/** Returns the policy of a configuration: `required` where something depends on the identity of the relay. */
export function tlsPolicyOf({ tls, secure, ca, user }: TlsSettings): TlsPolicy {
  if (secure) return 'required';
  return tls ?? (user !== undefined || ca !== undefined ? 'required' : 'opportunistic');
}

/** Returns why settings contradict each other; undefined when they do not. */
export function tlsContradiction({ tls, secure, ca, user }: TlsSettings): string | undefined {
  if (secure && tls === 'none') return '`tls` must not be "none" with implicit TLS (`secure`, or port 465)';
  if (ca !== undefined && (tls === 'none' || (tls === 'opportunistic' && user === undefined)))
    return '`ca` needs `tls` to be "required", because no certificate is verified otherwise';
  return undefined;
}
