import { badMessage, busy, type FailureClass, FAILURES, find, inDoubt, refused } from './failures.ts';
import { cleanRelayText } from './relay-text.ts';
import type { SendFailure } from './send-result.ts';

/** An error of nodemailer. */
interface SmtpError {
  code?: string;
  /** Code of the system or of OpenSSL, when `code` is one of nodemailer's. */
  originalCode?: string;
  responseCode?: number;
  response?: string;
  /** The refused command. `CONN` outside of commands, `API` for errors of the client. */
  command?: string;
}

export interface SmtpContext {
  /** True if transmission of the mail had started. */
  isHandedOver: boolean;
  /** Addresses of the mail, which the message must not contain. */
  addresses: readonly string[];
}

/** Step of an SMTP session (RFC 5321), as far as it changes the meaning of a reply code. */
type Stage = 'connection' | 'starttls' | 'login' | 'sender' | 'recipient' | 'message';

const REFUSED: Record<Stage, string> = {
  connection: 'refused the connection',
  starttls: 'refused STARTTLS',
  login: 'refused the login',
  sender: 'refused the sender',
  recipient: 'refused the recipient',
  message: 'refused the message',
};

/** Problems of certificates by the codes of OpenSSL and Node.js. */
const CERTIFICATE: Record<string, { reason: string; problem: string }> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: { reason: 'self_signed', problem: 'is self-signed' },
  SELF_SIGNED_CERT_IN_CHAIN: { reason: 'untrusted', problem: 'is issued by an authority that is not trusted' },
  CERT_HAS_EXPIRED: { reason: 'expired', problem: 'has expired' },
  CERT_NOT_YET_VALID: { reason: 'not_yet_valid', problem: 'is not valid yet' },
  CERT_REVOKED: { reason: 'revoked', problem: 'is revoked' },
  ERR_TLS_CERT_ALTNAME_INVALID: { reason: 'host_mismatch', problem: 'is for another host name' },
  HOSTNAME_MISMATCH: { reason: 'host_mismatch', problem: 'is for another host name' },
  ...Object.fromEntries(
    [
      'UNABLE_TO_GET_ISSUER_CERT',
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      'CERT_UNTRUSTED',
      'INVALID_CA',
    ].map((code) => [code, { reason: 'untrusted', problem: 'is issued by an authority that is not trusted' }]),
  ),
  ...Object.fromEntries(
    ['CERT_CHAIN_TOO_LONG', 'CERT_REJECTED', 'CERT_SIGNATURE_FAILURE', 'INVALID_PURPOSE', 'PATH_LENGTH_EXCEEDED'].map(
      (code) => [code, { reason: 'invalid', problem: 'is invalid' }],
    ),
  ),
};

/**
 * Classifies a refusal by an SMTP relay or a lost connection. The message names the step and contains the relay's codes
 * and its text without addresses.
 */
export function classifySmtpError(error: unknown, { isHandedOver, addresses }: SmtpContext): SendFailure {
  const { responseCode, response = '', ...rest } = error as SmtpError;
  const stage = stageOf(rest.command, isHandedOver);
  if (responseCode === undefined || responseCode < 400 || responseCode > 599)
    return classifyConnectionError(rest, response, { isHandedOver, addresses });

  const enhanced = new RegExp(`^\\d{3}[ -](${Math.floor(responseCode / 100)}\\.\\d{1,3}\\.\\d{1,3})\\b`).exec(
    response,
  )?.[1];
  const isWithoutEhlo = rest.command === 'EHLO' && [500, 502, 504].includes(responseCode);
  if (isWithoutEhlo || (stage === 'starttls' && responseCode >= 500)) return noStarttls(response, addresses);
  const codes = enhanced === undefined ? String(responseCode) : `${responseCode} ${enhanced}`;
  const text = cleanRelayText(response, addresses);
  return {
    ...classOf(stage, responseCode, enhanced),
    errorCode: `smtp_${responseCode}`,
    errorMessage: withStop(
      `The SMTP relay ${REFUSED[stage]}: ${codes}${text === '' ? '' : ` ${text}`}`,
      adviceFor(stage, responseCode),
    ),
  };
}

function stageOf(command: string | undefined, isHandedOver: boolean): Stage {
  if (isHandedOver || command === 'DATA') return 'message';
  if (command === 'MAIL FROM') return 'sender';
  if (command === 'RCPT TO') return 'recipient';
  if (command === 'STARTTLS') return 'starttls';
  return command?.startsWith('AUTH') ? 'login' : 'connection';
}

function classOf(stage: Stage, code: number, enhanced: string | undefined): FailureClass {
  // The relay ends the session, whatever the rest of its reply means.
  if (code === 421) return busy;
  const isPermanent = code >= 500;
  const known = find(FAILURES.smtpEnhanced, enhanced) ?? find(FAILURES.smtp, code);
  const byCode = known ?? (isPermanent ? badMessage : busy);
  if (stage === 'recipient') return byCode;
  if (stage === 'message') {
    // After the content, a code without details is about the content.
    return byCode.blames === 'recipient' && isPermanent && enhanced === undefined ? badMessage : byCode;
  }
  // Before the recipient, a refusal is about the session or the sender, unless the mail is too large.
  if (!isPermanent) return busy;
  return stage === 'sender' && (code === 552 || enhanced === '5.3.4' || enhanced === '5.2.3') ? badMessage : refused;
}

function adviceFor(stage: Stage, code: number): string {
  if (stage === 'login' && code >= 500) return ' Check `user` and `password` of the channel.';
  if (code === 530 || code === 538) {
    return ' The relay asks for TLS or a login: set `tls` to `required`, and `user` and `password`.';
  }
  return '';
}

/** The mail was not sent, so that nobody on the way can read it or the password. */
function noStarttls(response: string, addresses: readonly string[]): SendFailure {
  const text = cleanRelayText(response, addresses);
  return {
    ...refused,
    errorCode: 'smtp_starttls_missing',
    errorMessage:
      withStop(`The SMTP relay does not offer STARTTLS${text === '' ? '' : ` (${text})`}`) +
      ' It got neither login nor mail. Use a relay with TLS, or change `tls` of the channel.',
  };
}

function classifyConnectionError(
  { code, originalCode, command }: SmtpError,
  response: string,
  { isHandedOver, addresses }: SmtpContext,
): SendFailure {
  const reason = (code === 'ESOCKET' || code === 'ETLS' || code === 'ECONNECTION' ? originalCode : undefined) ?? code;
  const certificate = reason === undefined ? undefined : CERTIFICATE[reason];
  if (certificate) {
    return {
      ...refused,
      errorCode: `smtp_certificate_${certificate.reason}`,
      errorMessage:
        `The certificate of the SMTP relay ${certificate.problem} (${reason}), so it got neither login nor mail. ` +
        'Renew the certificate, correct `host`, or set `ca` to the authority that issued it.',
    };
  }
  if (code === 'EFORBIDDEN') {
    return {
      ...refused,
      errorCode: 'outbound_forbidden',
      errorMessage:
        'The host of the SMTP relay is not public. Use a public host, or ask the operator to allow this one.',
    };
  }
  if (code === 'EAUTH' && response === '') {
    return {
      ...refused,
      errorCode: 'smtp_eauth',
      errorMessage: 'The login at the SMTP relay failed. Check `user` and `password` of the channel.',
    };
  }
  const name = response === '' ? (reason ?? 'unknown') : 'EPROTOCOL';
  const text = cleanRelayText(response, addresses);
  const detail = text === '' ? name : `${name}: ${text}`;
  if (isHandedOver) {
    return {
      ...inDoubt,
      errorCode: `smtp_${name.toLowerCase()}`,
      errorMessage: `The SMTP relay began to take the mail, but its reply is missing or not valid (${detail}).`,
    };
  }
  const known = response === '' ? find(FAILURES.socket, code) : undefined;
  return {
    // The mail was not handed over, so it cannot have been delivered.
    ...(known?.outcome === 'permanent' ? known : busy),
    errorCode: `smtp_${name.toLowerCase()}`,
    errorMessage:
      command === 'API' || code === 'EENVELOPE' || code === 'EMESSAGE'
        ? `The mail could not be given to the SMTP relay (${detail}).`
        : `The connection to the SMTP relay failed (${detail}).`,
  };
}

const withStop = (sentence: string, after = ''): string => `${sentence}${/[.!?…]$/.test(sentence) ? '' : '.'}${after}`;
