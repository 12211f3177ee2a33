import type { Socket } from 'node:net';
import { Readable } from 'node:stream';

import SMTPConnection from 'nodemailer/lib/smtp-connection';

import type { TlsPolicy } from './smtp-tls.ts';

export interface SessionOptions {
  host: string;
  port: number;
  /** True for implicit TLS. */
  secure: boolean;
  tls: TlsPolicy;
  /** Certificates in PEM format of the only trusted authorities. */
  ca?: string;
  user?: string;
  password?: string;
  /** Opens the TCP connection. */
  connect: () => Promise<Socket>;
}

export interface Envelope {
  from: string;
  to: string;
}

export interface Transfer {
  envelope: Envelope;
  content: Buffer;
  /** Resolves when the content may be sent, or to false when it must not. */
  mayStart: Promise<boolean>;
  /** Called right before the content is sent. */
  onHandedOver: () => void;
}

/** One authenticated connection to a relay, which transfers one mail at a time. */
export interface SmtpSession {
  /** False after the relay or this process closed the connection. */
  readonly isOpen: boolean;
  /** Number of mails that the relay accepted. */
  readonly accepted: number;
  /** Maximum size of a mail that the relay announces (RFC 1870), in bytes; 0 if it announces none. */
  readonly maxSize: number;
  /** True if the relay accepts mailbox names in Unicode (RFC 6531). */
  readonly hasSmtpUtf8: boolean;
  /**
   * Transfers one mail. Sends the envelope at once, and the content when `mayStart` resolves.
   *
   * @returns the reply of the relay to the content.
   * @throws the error of nodemailer. The session is closed if it cannot be used again.
   */
  transfer(transfer: Transfer): Promise<string>;
  /** Closes the connection after a QUIT command. */
  quit(): void;
  /** Closes the connection at once. A mail in transfer fails. */
  close(): void;
  onClose(listener: () => void): void;
}

const CONNECT_TIMEOUT_MS = 10_000;
/** Maximum time without a byte from the relay, in milliseconds. */
const SOCKET_TIMEOUT_MS = 25_000;

/** `mayStart` resolved to false. */
export class NotStarted extends Error {}

/**
 * Connects, starts TLS as the policy requires and logs in.
 *
 * @throws the error of nodemailer or of the socket. Nothing of a mail was sent.
 */
export async function openSession(options: SessionOptions, signal: AbortSignal): Promise<SmtpSession> {
  try {
    return await open(options, signal, false);
  } catch (error) {
    // Like Postfix with the level `may`: where nothing is protected by TLS, its failure does not keep the mail back.
    if (!(error instanceof TlsFailed)) throw error;
    if (options.tls !== 'opportunistic' || options.user !== undefined || options.secure) throw error.cause;
    return open(options, signal, true);
  }
}

/** The TLS handshake after STARTTLS failed. */
class TlsFailed extends Error {}

async function open(options: SessionOptions, signal: AbortSignal, isPlain: boolean): Promise<SmtpSession> {
  const { host, port, secure, tls, ca, user, password } = options;
  const socket = await options.connect();
  if (signal.aborted) {
    socket.destroy();
    throw timedOut();
  }
  const isUnverified = tls === 'opportunistic' && user === undefined && !secure;
  const connection = new SMTPConnection({
    host,
    port,
    secure,
    connection: socket,
    connectionTimeout: CONNECT_TIMEOUT_MS,
    greetingTimeout: CONNECT_TIMEOUT_MS,
    socketTimeout: SOCKET_TIMEOUT_MS,
    requireTLS: tls === 'required',
    ignoreTLS: tls === 'none' || isPlain,
    opportunisticTLS: isUnverified,
    tls: { ...(isUnverified && { rejectUnauthorized: false }), ...(ca !== undefined && { ca }) },
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = (): void => reject(timedOut());
  signal.addEventListener('abort', onAbort, { once: true });
  let accepted = 0;
  // Errors of an idle session need no handling: the connection is closed and not used again.
  connection.on('error', (error: Error) =>
    reject(connection.upgrading === true && !isTimeout(error) ? new TlsFailed('', { cause: error }) : error),
  );
  connection.once('end', () => reject(closedByRelay()));
  connection.connect((error) => {
    if (error) return reject(error);
    if (user === undefined || !connection.allowsAuth) return resolve();
    const credentials = { user, pass: password ?? '' };
    connection.login({ user, credentials }, (refusal) => (refusal ? reject(refusal) : resolve()));
  });
  try {
    await promise;
  } catch (error) {
    connection.close();
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  // What nodemailer has read from the reply to EHLO. Its types do not declare these fields.
  const { _maxAllowedSize: maxSize, _supportedExtensions: extensions } = connection as unknown as {
    _maxAllowedSize: number;
    _supportedExtensions: string[];
  };

  return {
    get isOpen() {
      return !connection.destroyed;
    },
    get accepted() {
      return accepted;
    },
    maxSize,
    hasSmtpUtf8: extensions.includes('SMTPUTF8'),
    transfer: async ({ envelope, content, mayStart, onHandedOver }) => {
      let isHandedOver = false;
      const start = async (stream: Readable): Promise<void> => {
        if (!(await mayStart)) return void stream.destroy(new NotStarted());
        if (stream.destroyed) return;
        isHandedOver = true;
        onHandedOver();
        stream.push(content);
        stream.push(null);
      };
      let onEnd = (): void => {};
      try {
        const reply = await new Promise<string>((done, fail) => {
          const stream = new Readable({ read: () => void start(stream) });
          // nodemailer adds its listener only while the transfer lasts.
          stream.on('error', () => {});
          // nodemailer does not call back after `close`. After an error it does, right after this event.
          onEnd = () => setImmediate(() => fail(closedByRelay()));
          connection.once('end', onEnd);
          connection.send({ from: envelope.from, to: [envelope.to], size: content.length }, stream, (error, info) =>
            error ? fail(error) : done(info?.response ?? ''),
          );
        });
        accepted += 1;
        return reply;
      } catch (error) {
        // After a refused envelope the session can be used again. In the middle of the content it cannot.
        if (isHandedOver || (error as { responseCode?: number }).responseCode === undefined) connection.close();
        else await reset(connection);
        throw error;
      } finally {
        connection.off('end', onEnd);
      }
    },
    quit: () => connection.quit(),
    close: () => connection.close(),
    onClose: (listener) => connection.once('end', listener),
  };
}

/** Ends the mail transaction. Closes the connection if the relay refuses. */
function reset(connection: SMTPConnection): Promise<void> {
  return new Promise((resolve) => {
    if (connection.destroyed) return resolve();
    connection.once('end', resolve);
    connection.reset((error) => {
      connection.off('end', resolve);
      if (error) connection.close();
      resolve();
    });
  });
}

const isTimeout = (error: Error): boolean => (error as { code?: string }).code === 'ETIMEDOUT';
export const timedOut = (): Error => Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' });
const closedByRelay = (): Error => Object.assign(new Error('connection closed'), { code: 'ECONNECTION' });
