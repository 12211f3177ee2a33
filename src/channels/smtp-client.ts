import { callbackify } from 'node:util';

import { LRUCache } from 'lru-cache';
import { createTransport, type SendMailOptions, type Transporter } from 'nodemailer';
import type SMTPPool from 'nodemailer/lib/smtp-pool/index.js';

import type { SendOptions } from './channel.ts';
import type { SendResult } from './send-result.ts';
import { classifySmtpError } from './failures.ts';
import { createSemaphore, type Semaphore } from './semaphore.ts';
import { createOutboundGuard, openGuard } from './outbound.ts';

/** One SMTP relay of one tenant. */
export interface SmtpRelay {
  /** Tenants do not share connections. */
  tenantId: string;
  host: string;
  port: number;
  secure: boolean;
  user?: string;
  password?: string;
  maxConnections: number;
  dkim?: { domainName: string; keySelector: string; privateKey: string };
  isTrusted: boolean;
}

/** A mail for nodemailer. It contains only plain values, so that it can be posted to a worker thread. */
export type Mail = Pick<SendMailOptions, 'from' | 'to' | 'replyTo' | 'subject' | 'text' | 'html' | 'date'> & {
  envelope: { from: string; to: string[] };
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

interface Pool {
  transport: Transporter<SMTPPool.SentMessageInfo>;
  connections: Semaphore;
  /** Mails whose beginning is recorded: those in transfer, and the next three of each connection. */
  ahead: Semaphore;
}

type TrackedMail = Mail & { onHandedOver: () => void };

/** Not seen by users: the caller knows why `begin` failed. */
const NOT_BEGUN: SendResult = {
  outcome: 'transient',
  blames: 'message',
  errorCode: 'attempt_not_recorded',
  errorMessage: 'The attempt was not recorded, so the mail was not sent.',
};

/** Creates an SMTP client with a connection pool for each relay. */
export function createSmtpClient(outboundAllow: readonly string[]): SmtpClient {
  const guard = createOutboundGuard(outboundAllow);
  const pools = new LRUCache<string, Pool>({ max: MAX_POOLS, dispose: ({ transport }) => transport.close() });

  const poolOf = (relay: SmtpRelay): Pool => {
    const key = JSON.stringify(relay);
    const known = pools.get(key);
    if (known) return known;
    const { host, port, secure, maxConnections, user, password, dkim } = relay;
    const connector = relay.isTrusted ? openGuard : guard;
    const transport = createTransport({
      pool: true,
      host,
      port,
      secure,
      maxConnections,
      maxMessages: Number.POSITIVE_INFINITY,
      connectionTimeout: CONNECT_TIMEOUT_MS,
      greetingTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: 25_000,
      // Checks the address at the time of the connection.
      getSocket: callbackify(async (_options: unknown) => ({
        connection: await connector.connect(host, port, CONNECT_TIMEOUT_MS),
      })),
      // Keeps templates and events from attaching local files or internal URLs.
      disableFileAccess: true,
      disableUrlAccess: true,
      ...(user === undefined ? {} : { auth: { user, pass: password ?? '' } }),
      ...(dkim && { dkim: { ...dkim, headerFieldNames: SIGNED_HEADERS } }),
    } as SMTPPool.Options);
    // nodemailer reads the body after the relay has accepted DATA. If the connection breaks after that, the outcome is
    // unknown.
    transport.use('stream', (compiled, done) => {
      const { onHandedOver } = compiled.data as unknown as TrackedMail;
      const createReadStream = compiled.message.createReadStream.bind(compiled.message);
      compiled.message.createReadStream = (options) => createReadStream(options).once('resume', onHandedOver);
      done();
    });
    const pool = {
      transport,
      connections: createSemaphore(maxConnections),
      ahead: createSemaphore(4 * maxConnections),
    };
    pools.set(key, pool);
    return pool;
  };

  return {
    send: async (relay, mail, { timeoutMs, begin }) => {
      const { transport, connections, ahead } = poolOf(relay);
      // Records the beginning of the next mails while others are in transfer: in batches, and without a pause of the connection.
      // A crash leaves no more than these in doubt.
      await ahead.acquire();
      const hasBegun = await begin().catch(() => false);
      if (!hasBegun) {
        ahead.release();
        return NOT_BEGUN;
      }
      // Keeps nodemailer's own queue empty: a mail in that queue cannot be cancelled, so after a timeout it would be
      // sent in addition to the retry.
      await connections.acquire();
      let isHandedOver = false;
      const tracked: TrackedMail = { ...mail, onHandedOver: () => (isHandedOver = true) };
      const sending = transport.sendMail({ ...tracked, disableFileAccess: true, disableUrlAccess: true });
      // After a timeout the connection stays in use until the relay is done with the mail.
      void sending
        .catch(() => {})
        .finally(() => {
          connections.release();
          ahead.release();
        });
      let timer: NodeJS.Timeout | undefined;
      const timeout = new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => reject(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' })), timeoutMs);
      });
      try {
        await Promise.race([sending, timeout]);
        return { outcome: 'ok', providerMessageId: mail.messageId };
      } catch (error) {
        return classifySmtpError(error, isHandedOver);
      } finally {
        clearTimeout(timer);
      }
    },
    close: async () => pools.clear(),
  };
}
