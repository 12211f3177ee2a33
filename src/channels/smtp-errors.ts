import type { SendFailure } from './channel.ts';

/**
 * Tells a failure that may pass from one that will not (RFC 5321, 4.2.1: 4yz and 5yz). The relay's own words are not
 * passed on, since relays like to repeat the recipient in them; its codes say the same.
 */
export function classifySmtpError(error: unknown): SendFailure {
  const { code, responseCode, response } = error as { code?: string; responseCode?: number; response?: string };
  const enhanced = /^\d{3}[ -](\d\.\d{1,3}\.\d{1,3})\b/.exec(response ?? '')?.[1];
  if (responseCode !== undefined && responseCode >= 400) {
    const said = enhanced === undefined ? String(responseCode) : `${responseCode} ${enhanced}`;
    return {
      outcome: responseCode >= 500 ? 'permanent' : 'transient',
      blames: 'message',
      errorCode: `smtp_${responseCode}`,
      errorMessage: `The SMTP relay answered ${said}.`,
    };
  }
  if (code === 'EENVELOPE' || code === 'EMESSAGE' || code === 'EAUTH' || code === 'ENOAUTH') {
    return {
      outcome: 'permanent',
      blames: 'message',
      errorCode: `smtp_${code.toLowerCase()}`,
      errorMessage: `The mail was refused (${code}).`,
    };
  }
  const reason = code ?? 'unknown';
  return {
    outcome: 'transient',
    blames: 'provider',
    errorCode: `smtp_${reason.toLowerCase()}`,
    errorMessage: `The SMTP relay could not be used (${reason}).`,
  };
}
