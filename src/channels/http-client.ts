import { Agent, type Dispatcher, request } from 'undici';

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
  /** As it came, whatever it says of itself. */
  text: string;
  /** Of the reply, in small letters. */
  headers: Record<string, string | string[] | undefined>;
}

export interface HttpClient {
  /**
   * Sends one request and reads its reply, both within bounds. Redirects are not followed.
   * @returns the reply, whatever its status, or why there is none.
   */
  send(
    url: string,
    options: HttpRequest,
    limits: { timeoutMs: number; isTrusted: boolean },
  ): Promise<HttpReply | SendFailure>;
  close(): Promise<void>;
}

/** Bytes of a reply that are read; providers need a few hundred. */
const MAX_REPLY = 64 * 1024;
const CONNECT_TIMEOUT_MS = 10_000;
/** Connections to one origin at once. */
const MAX_CONNECTIONS = 128;
/** Origins that are kept open, so that webhooks to the whole world do not pile up. */
const MAX_ORIGINS = 1_000;

/** One client for all providers: connections are kept open, and each tenant's hosts are held against the guard. */
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
    send: async (url, { method = 'POST', headers, body }, { timeoutMs, isTrusted }) => {
      try {
        const target = new URL(url);
        if (!isTrusted) guard.checkLiteral(target.hostname.replaceAll(/^\[|\]$/g, ''));
        const reply = await request(target, {
          dispatcher: isTrusted ? agents.trusted : agents.guarded,
          method,
          headers,
          ...(body !== undefined && { body }),
          signal: AbortSignal.timeout(timeoutMs),
        });
        return { status: reply.statusCode, headers: reply.headers, text: await textOf(reply) };
      } catch (error) {
        return classifyHttpError(error);
      }
    },
    close: async () => {
      await Promise.all([agents.guarded.destroy(), agents.trusted.destroy()]);
    },
  };
}

async function textOf({ body }: Dispatcher.ResponseData): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

export const isFailure = (reply: HttpReply | SendFailure): reply is SendFailure => 'outcome' in reply;

export const isSuccess = ({ status }: HttpReply): boolean => status >= 200 && status < 300;

/** What a reply other than success means, where the provider's own codes say nothing more particular. */
export function failureOf({ status, headers }: HttpReply): SendFailure {
  const retryAfter = headers['retry-after'];
  return classifyHttpStatus(status, Array.isArray(retryAfter) ? retryAfter[0] : retryAfter);
}

/** The reply as JSON; undefined where it is none. */
export function jsonOf({ text }: HttpReply): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** A success that cannot be read: it was probably taken. */
export const malformedReply = (): SendFailure => ({
  outcome: 'unknown',
  blames: 'provider',
  errorCode: 'malformed_reply',
  errorMessage: 'The provider said yes, and the rest of its reply cannot be read.',
});
