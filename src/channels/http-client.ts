import type { Readable } from 'node:stream';

import { Agent, type Dispatcher, request } from 'undici';

import type { SendOptions } from './send-options.ts';
import type { SendFailure } from './send-result.ts';
import { classifyHttpError, classifyHttpStatus } from './failures.ts';
import { createOutboundGuard, openGuard, type OutboundGuard } from './outbound.ts';

export interface HttpRequest {
  method?: 'GET' | 'POST' | 'PUT';
  headers: Record<string, string>;
  body?: string | Buffer;
}

export interface HttpReply {
  status: number;
  /** Body as text, regardless of its content type. */
  text: string;
  /** Header names are in lower case. */
  headers: Record<string, string | string[] | undefined>;
}

export interface HttpLimits {
  /** Maximum duration, in milliseconds, including the time to connect. */
  timeoutMs: number;
  isTrusted: boolean;
  /**
   * Called when a connection is open, and before anything of the request is sent; without a body, before the connection.
   * The request is sent only if it resolves to true.
   */
  begin?: SendOptions['begin'];
}

export interface HttpClient {
  /**
   * Sends one request and reads its reply, with limits on duration and size. Does not follow redirects.
   * @returns the reply with any status, or a failure when there was no reply.
   */
  send(url: string, options: HttpRequest, limits: HttpLimits): Promise<HttpReply | SendFailure>;
  close(): Promise<void>;
}

/** Maximum size of a reply, in bytes. Replies of providers have a few hundred. */
const MAX_REPLY = 64 * 1024;
const CONNECT_TIMEOUT_MS = 10_000;
/** Maximum number of connections to one origin. */
const MAX_CONNECTIONS = 128;
/** Maximum number of origins with open connections. Bounds the connections of webhooks to many hosts. */
const MAX_ORIGINS = 1_000;

/**
 * Creates the HTTP client of all providers. It keeps connections open and checks hosts of tenants with the outbound
 * guard.
 */
export function createHttpClient(outboundAllow: readonly string[]): HttpClient {
  const guard = createOutboundGuard(outboundAllow);
  const open = ({ lookup }: OutboundGuard): Agent =>
    new Agent({
      connect: { lookup, timeout: CONNECT_TIMEOUT_MS },
      connections: MAX_CONNECTIONS,
      maxOrigins: MAX_ORIGINS,
      pipelining: 1,
      keepAliveTimeout: 10_000,
      maxHeaderSize: 16 * 1024,
      maxResponseSize: MAX_REPLY,
    });
  const agents = { guarded: open(guard), trusted: open(openGuard) };

  return {
    send: async (url, { method = 'POST', headers, body }, { timeoutMs, isTrusted, begin }) => {
      let hasBegun = begin === undefined;
      const start = async (): Promise<void> => {
        if (begin && !(await begin())) throw new NotBegun();
        hasBegun = true;
      };
      try {
        const target = new URL(url);
        if (!isTrusted) guard.checkLiteral(target.hostname.replaceAll(/^\[|\]$/g, ''));
        if (body === undefined) await start();
        const reply = await request(target, {
          dispatcher: isTrusted ? agents.trusted : agents.guarded,
          method,
          ...(body === undefined || !begin
            ? { headers, ...(body !== undefined && { body }) }
            : { headers: { ...headers, 'content-length': lengthOf(body) }, body: bodyAfter(start, body) }),
          signal: AbortSignal.timeout(timeoutMs),
        });
        return { status: reply.statusCode, headers: reply.headers, text: await textOf(reply) };
      } catch (error) {
        const failure = classifyHttpError(error);
        // What was not sent is not in doubt.
        return hasBegun || failure.outcome !== 'unknown' ? failure : { ...failure, outcome: 'transient' };
      }
    },
    close: async () => {
      await Promise.all([agents.guarded.destroy(), agents.trusted.destroy()]);
    },
  };
}

/** `begin` resolved to false. The caller knows why. */
class NotBegun extends Error {}

const lengthOf = (body: string | Buffer): string => String(Buffer.byteLength(body));

/**
 * Returns a body that waits for `start`. undici reads it when a connection is open, and writes the head of the request
 * together with its first part. Its types allow only streams, but it takes every asynchronous iterable.
 */
function bodyAfter(start: () => Promise<void>, body: string | Buffer): Readable {
  const parts = async function* (): AsyncGenerator<Buffer> {
    await start();
    yield Buffer.from(body);
  };
  return parts() as unknown as Readable;
}

async function textOf({ body }: Dispatcher.ResponseData): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

export const isFailure = (reply: HttpReply | SendFailure): reply is SendFailure => 'outcome' in reply;

export const isSuccess = ({ status }: HttpReply): boolean => status >= 200 && status < 300;

/** Classifies a reply other than success by its HTTP status. */
export function failureOf({ status, headers }: HttpReply): SendFailure {
  const retryAfter = headers['retry-after'];
  return classifyHttpStatus(status, Array.isArray(retryAfter) ? retryAfter[0] : retryAfter);
}

/** Returns the reply as a JSON object; undefined when it is not one. */
export function jsonOf({ text }: HttpReply): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** A success status with an unreadable body. The message was probably accepted. */
export const malformedReply = (): SendFailure => ({
  outcome: 'unknown',
  blames: 'provider',
  errorCode: 'malformed_reply',
  errorMessage: 'The provider reported success, but the body of its reply could not be parsed.',
});
