import { callbackify } from 'node:util';

import { LRUCache } from 'lru-cache';
import { createTransport, type SendMailOptions, type Transporter } from 'nodemailer';
import type SMTPPool from 'nodemailer/lib/smtp-pool/index.js';

import type { SendResult } from './send-result.ts';
import { classifySmtpError } from './failures.ts';
import { createSemaphore, type Semaphore } from './semaphore.ts';
import { createOutboundGuard, openGuard } from './outbound.ts';

/** One relay of one tenant, ready to connect to. */
export interface SmtpRelay {
  /** Whose connections these are: they are shared by nobody else. */
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

/** A mail as nodemailer takes it, of plain values only, so that it can be handed to another thread. */
export type Mail = Pick<SendMailOptions, 'from' | 'to' | 'replyTo' | 'subject' | 'text' | 'html' | 'date'> & {
  envelope: { from: string; to: string[] };
  messageId: string;
  headers: Record<string, string>;
};

export interface SmtpClient {
  /** Hands a mail to a relay once a connection is free for it. Never rejects. */
  send(relay: SmtpRelay, mail: Mail, timeoutMs: number): Promise<SendResult>;
  close(): Promise<void>;
}

/** Relays whose connections are kept; the least used one is closed first. */
const MAX_POOLS = 500;
const CONNECT_TIMEOUT_MS = 10_000;

/** nodemailer's own list leaves these out, and an unsubscribe link that is not signed is ignored (RFC 8058, 4). */
const SIGNED_HEADERS =
  'from:sender:reply-to:subject:date:message-id:to:mime-version:content-type:content-transfer-encoding:' +
  'list-unsubscribe:list-unsubscribe-post';

interface Pool {
  transport: Transporter<SMTPPool.SentMessageInfo>;
  gate: Semaphore;
}

type TrackedMail = Mail & { onHandedOver: () => void };

/** Composes mails and talks to relays, with a pool of connections for each relay in use. */
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
      // The address is checked as it is connected to.
      getSocket: callbackify(async (_options: unknown) => ({
        connection: await connector.connect(host, port, CONNECT_TIMEOUT_MS),
      })),
      // A template or an event must never make the composer open a file or a URL of ours.
      disableFileAccess: true,
      disableUrlAccess: true,
      ...(user === undefined ? {} : { auth: { user, pass: password ?? '' } }),
      ...(dkim && { dkim: { ...dkim, headerFieldNames: SIGNED_HEADERS } }),
    } as SMTPPool.Options);
    // The body is read only after the relay said that it may come: from then on nobody knows whether it was taken.
    transport.use('stream', (compiled, done) => {
      const { onHandedOver } = compiled.data as unknown as TrackedMail;
      const createReadStream = compiled.message.createReadStream.bind(compiled.message);
      compiled.message.createReadStream = (options) => createReadStream(options).once('resume', onHandedOver);
      done();
    });
    const pool = { transport, gate: createSemaphore(maxConnections) };
    pools.set(key, pool);
    return pool;
  };

  return {
    send: async (relay, mail, timeoutMs) => {
      const { transport, gate } = poolOf(relay);
      // The pool's own queue is never used: a mail that waits there cannot be taken back, and would be sent although it
      // was given up and tried again.
      await gate.enter();
      let isHandedOver = false;
      const tracked: TrackedMail = { ...mail, onHandedOver: () => (isHandedOver = true) };
      const sending = transport.sendMail({ ...tracked, disableFileAccess: true, disableUrlAccess: true });
      // The place is free when the relay is done with the mail, even if nobody waits for that any more.
      void sending.catch(() => {}).finally(gate.leave);
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
