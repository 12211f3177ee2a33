import { LRUCache } from 'lru-cache';
import { createTransport, type SendMailOptions } from 'nodemailer';

import type { SendOptions } from './send-options.ts';
import { createOutboundGuard, openGuard } from './outbound.ts';
import { queueIdOf } from './queue-id.ts';
import type { SendFailure, SendResult } from './send-result.ts';
import { envelopeOf, needsSmtpUtf8 } from './smtp-address.ts';
import { classifySmtpError } from './smtp-failures.ts';
import { createSmtpPool, type SmtpPool } from './smtp-pool.ts';
import { NotStarted, openSession, type SmtpSession, timedOut } from './smtp-session.ts';
import type { TlsPolicy } from './smtp-tls.ts';

/** One SMTP relay of one tenant. */
export interface SmtpRelay {
  /** Tenants do not share connections. */
  tenantId: string;
  host: string;
  port: number;
  /** True for implicit TLS. */
  secure: boolean;
  tls: TlsPolicy;
  /** Certificates in PEM format of the only trusted authorities. */
  ca?: string;
  user?: string;
  password?: string;
  maxConnections: number;
  dkim?: { domainName: string; keySelector: string; privateKey: string };
  isTrusted: boolean;
}

/** A mail for nodemailer. It contains only plain values, so that it can be posted to a worker thread. */
export type Mail = Pick<SendMailOptions, 'from' | 'to' | 'replyTo' | 'subject' | 'text' | 'html' | 'date'> & {
  envelope: { from: string; to: string };
  messageId: string;
  headers: Record<string, string>;
};

export interface SmtpClient {
  /** Sends a mail as soon as a connection to the relay is free. Does not reject. */
  send(relay: SmtpRelay, mail: Mail, options: Pick<SendOptions, 'timeoutMs' | 'begin'>): Promise<SendResult>;
  close(): Promise<void>;
}

/** Maximum number of connection pools, one for each relay. The least recently used one is closed first. */
const MAX_POOLS = 500;
const CONNECT_TIMEOUT_MS = 10_000;

/**
 * nodemailer's default lacks the unsubscribe headers, which are ignored unless DKIM signs them (RFC 8058, section 4).
 */
const SIGNED_HEADERS =
  'from:sender:reply-to:subject:date:message-id:to:mime-version:content-type:content-transfer-encoding:' +
  'list-unsubscribe:list-unsubscribe-post';

interface Relay {
  pool: SmtpPool;
  open: (signal: AbortSignal) => Promise<SmtpSession>;
  compose: (mail: Mail) => Promise<Buffer>;
}

/** Not seen by users: the caller knows why `begin` failed. */
const NOT_BEGUN: SendFailure = {
  outcome: 'transient',
  blames: 'message',
  errorCode: 'attempt_not_recorded',
  errorMessage: 'The attempt was not recorded, so the mail was not sent.',
};

/** Creates an SMTP client with a connection pool for each relay. */
export function createSmtpClient(outboundAllow: readonly string[]): SmtpClient {
  const guard = createOutboundGuard(outboundAllow);
  const relays = new LRUCache<string, Relay>({ max: MAX_POOLS, dispose: ({ pool }) => pool.close() });

  const relayOf = (relay: SmtpRelay): Relay => {
    const key = JSON.stringify(relay);
    const known = relays.get(key);
    if (known) return known;
    const { host, port, maxConnections, dkim } = relay;
    // Checks the address at the time of the connection.
    const connector = relay.isTrusted ? openGuard : guard;
    const connect = () => connector.connect(host, port, CONNECT_TIMEOUT_MS);
    const created = {
      pool: createSmtpPool(maxConnections),
      open: (signal: AbortSignal) => openSession({ ...relay, connect }, signal),
      compose: composer(dkim),
    };
    relays.set(key, created);
    return created;
  };

  return {
    send: async (relay, mail, { timeoutMs, begin }) => {
      const { pool, open, compose } = relayOf(relay);
      let composed: Promise<Buffer> | undefined;
      const prepare = (): Promise<Buffer> => {
        composed ??= compose(mail);
        composed.catch(() => {});
        return composed;
      };
      // Records and composes the next mails while others are in transfer, so that no connection waits for it.
      await pool.enter(() => {
        void begin({ isNext: true }).catch(() => false);
        void prepare();
      });
      const { promise, resolve } = Promise.withResolvers<SendResult>();
      const transfer = { mail, timeoutMs, begin, open, prepare, idle: () => pool.take(), onResult: resolve };
      void transferMail(transfer).then((session) => pool.leave(session));
      return promise;
    },
    close: async () => relays.clear(),
  };
}

interface MailTransfer extends Pick<SendOptions, 'timeoutMs' | 'begin'> {
  mail: Mail;
  open: Relay['open'];
  prepare: () => Promise<Buffer>;
  idle: () => SmtpSession | undefined;
  onResult: (result: SendResult) => void;
}

/**
 * Transfers one mail and reports its result, at the latest after the timeout.
 *
 * @returns when the connection is free, the session, if it can be used again. After a timeout the connection stays in use
 *   until the relay is done with the mail, so that a slow relay gets no further mails.
 */
async function transferMail({ mail, timeoutMs, begin, open, prepare, idle, onResult }: MailTransfer) {
  const { envelope } = mail;
  const addresses = [envelope.from, envelope.to];
  const giveUp = new AbortController();
  let session: SmtpSession | undefined;
  let isHandedOver = false;
  const failed = (error: unknown): SendFailure =>
    error instanceof NotStarted ? NOT_BEGUN : classifySmtpError(error, { isHandedOver, addresses });
  const stop = (): void => {
    giveUp.abort();
    session?.close();
  };
  const onTimeout = (): void => {
    onResult(failed(timedOut()));
    // What is not handed over must not be handed over later. A mail in transfer gets the same time again.
    if (!isHandedOver) stop();
    else timer = setTimeout(stop, timeoutMs);
  };
  let timer: NodeJS.Timeout | undefined;

  const attempt = async (content: Buffer, usable: SmtpSession | undefined): Promise<void> => {
    session = usable ?? (await open(giveUp.signal));
    if (giveUp.signal.aborted) throw timedOut();
    const problem = problemOf(envelope, content, session);
    if (problem) return onResult(problem);
    const recorded = Promise.withResolvers<boolean>();
    const reply = session.transfer({
      envelope: envelopeOf(envelope),
      content,
      mayStart: recorded.promise,
      onHandedOver: () => (isHandedOver = true),
    });
    // The relay already has the envelope: from here on, a crash leaves the mail in doubt.
    begin().then(recorded.resolve, () => recorded.resolve(false));
    onResult({ outcome: 'ok', providerMessageId: idOf(await reply, mail) });
  };

  try {
    const content = await prepare();
    timer = setTimeout(onTimeout, timeoutMs);
    const known = idle();
    try {
      await attempt(content, known);
    } catch (error) {
      // The relay has closed an idle connection before it got the mail.
      if (!known || known.isOpen || isHandedOver || giveUp.signal.aborted || !isClosedConnection(error)) throw error;
      await attempt(content, undefined);
    }
  } catch (error) {
    onResult(failed(error));
  }
  clearTimeout(timer);
  return session;
}

/** Returns why the relay cannot take a mail, before it gets anything of it. */
function problemOf(envelope: Mail['envelope'], content: Buffer, session: SmtpSession): SendFailure | undefined {
  if (session.maxSize > 0 && content.length > session.maxSize) {
    return {
      outcome: 'permanent',
      blames: 'message',
      errorCode: 'smtp_message_too_large',
      errorMessage: `The mail has ${content.length} bytes, and the SMTP relay accepts ${session.maxSize}.`,
    };
  }
  if (session.hasSmtpUtf8) return undefined;
  const isSender = needsSmtpUtf8(envelope.from);
  if (!isSender && !needsSmtpUtf8(envelope.to)) return undefined;
  return {
    outcome: 'permanent',
    blames: isSender ? 'provider' : 'recipient',
    errorCode: 'smtp_smtputf8_missing',
    errorMessage:
      `The mailbox name of the ${isSender ? 'sender' : 'recipient'} is not ASCII, and the SMTP relay does not offer ` +
      `SMTPUTF8. Use ${isSender ? 'an ASCII sender, or ' : ''}a relay that supports it.`,
  };
}

/** Returns the id under which the relay queued the mail, or the Message-ID if the relay names none. */
function idOf(reply: string, { messageId, envelope }: Mail): string {
  const id = queueIdOf(reply);
  return id === undefined || id.toLowerCase().includes(envelope.to.toLowerCase()) ? messageId : id;
}

function isClosedConnection(error: unknown): boolean {
  const { code, responseCode } = error as { code?: string; responseCode?: number };
  return responseCode === 421 || code === 'ECONNECTION' || code === 'ESOCKET';
}

/** Returns a function that composes a mail and signs it with DKIM. */
function composer(dkim: SmtpRelay['dkim']): Relay['compose'] {
  // Templates and events must not attach local files or internal URLs.
  const closed = { disableFileAccess: true, disableUrlAccess: true };
  const transport = createTransport({
    streamTransport: true,
    buffer: true,
    ...closed,
    ...(dkim && { dkim: { ...dkim, headerFieldNames: SIGNED_HEADERS } }),
  });
  return async (mail) => {
    const { message } = await transport.sendMail({ ...mail, ...closed });
    return message as Buffer;
  };
}
