import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

import { decompressBody } from '../src/content-encoding.ts';
import { AppError, ERROR_STATUS, type ErrorCode, RETRY_AFTER_S } from '../src/errors.ts';
import type { Actor } from '../src/identity/actor.ts';
import { requirePermission } from '../src/identity/actor.ts';
import { type Authenticate, bearerToken } from '../src/identity/verify.ts';
import { newId } from '../src/ids.ts';
import type { Intake, Outcome } from '../src/intake/intake.ts';
import type { Log } from '../src/log.ts';
import { isBatch, isBinary, isStructured, openBinary, openStructured, parseJson } from './envelope.ts';
import { EventRefused, type RawEvent } from './events/event.ts';
import { type Control, type MessageInput, isControl, onlyTenant, toInput } from './inputs.ts';

export interface EventRoutesOptions {
  authenticate: Authenticate;
  intake: Intake;
  control: Control;
  log: Log;
}

/** Maximum size of a request body, in bytes, also after decompression. */
const BODY_LIMIT = 4 * 1024 * 1024;
/** Maximum number of events in a batch. */
const BATCH_LIMIT = 1_000;

interface EventResult {
  status: 'accepted' | 'duplicate' | 'rejected';
  /** Id of the delivery record. */
  log_id?: string;
  /** Id of the `rejected_event` row. */
  rejected_event_id?: string;
  error_code?: string;
  message?: string;
}

/**
 * `POST /events`: CloudEvents 1.0 over HTTP, in binary, structured or batch mode. Answers 202 with one result per
 * event once all of them are durable; posting again is safe. The body may be compressed.
 */
export async function eventRoutes(app: FastifyInstance, options: EventRoutesOptions): Promise<void> {
  // Bodies are read as bytes, because the bytes of an invalid event are stored.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: BODY_LIMIT }, (_request, body, done) =>
    done(null, body),
  );

  app.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const known = asAppError(error);
    const traceId = newId();
    if (known.code === 'internal' || known.code === 'unavailable') {
      options.log.error({ error, trace_id: traceId, url: request.url }, 'event request failed');
    }
    if (known.status === 503) void reply.header('retry-after', RETRY_AFTER_S);
    return reply
      .code(known.status)
      .send({ error_code: known.code, message: known.message, trace_id: traceId, ...known.details });
  });

  // Authenticates before the body is read, so that unauthorized clients cannot send megabytes.
  const actors = new WeakMap<FastifyRequest, Actor>();
  const onRequest = async (request: FastifyRequest): Promise<void> => {
    const actor = await options.authenticate(
      bearerToken(request.headers.authorization),
      request.headers['x-tenant-id']?.toString(),
    );
    requirePermission(actor, 'notif.ingest');
    actors.set(request, actor);
  };
  app.post('/events', { bodyLimit: BODY_LIMIT, onRequest, preParsing: decompressBody(BODY_LIMIT) }, (request, reply) =>
    receive(request, reply, actors.get(request) as Actor, options),
  );
}

async function receive(
  request: FastifyRequest,
  reply: FastifyReply,
  actor: Actor,
  options: EventRoutesOptions,
): Promise<unknown> {
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const inputs = openRequest(eventHeaders(request), body, actor);
  const stored = inputs.filter((input) => !isControl(input));
  for (const input of inputs) if (isControl(input)) await options.control(input);
  const outcomes = (await options.intake.take(stored)).values();

  const results = inputs.map((input): EventResult => {
    return isControl(input) ? { status: 'accepted' } : toResult(outcomes.next().value as Outcome);
  });
  const isRefused = results.length > 0 && results.every((result) => result.status === 'rejected');
  if (!isRefused) return reply.code(202).send({ results });
  const [first] = results as [EventResult];
  const isForeign = results.every((result) => result.error_code === 'tenant_mismatch');
  const code: ErrorCode = isForeign ? 'tenant_mismatch' : 'validation_failed';
  return reply.code(ERROR_STATUS[code]).send({ error_code: code, message: first.message, results });
}

function openRequest(headers: Record<string, string>, body: Buffer, actor: Actor): MessageInput[] {
  const authorize = onlyTenant(actor.tenantId);
  // A rejected event is stored for the tenant of the token, not for the tenant that the event claims.
  const input = (open: () => RawEvent, raw = (): Buffer => body): MessageInput => {
    const result = toInput(open, { raw, headers, source: { kind: 'http' } }, authorize);
    if (result.kind === 'rejection') result.rejection.tenantId = actor.tenantId;
    return result;
  };

  if (isBatch(headers)) {
    let items: unknown;
    try {
      items = parseJson(body);
    } catch (error) {
      return [input(() => rethrow(error))];
    }
    if (!Array.isArray(items)) {
      return [input(() => rethrow(new EventRefused('malformed_event', 'a batch must be a JSON array')))];
    }
    if (items.length > BATCH_LIMIT) {
      throw new AppError('payload_too_large', `The batch exceeds the limit of ${BATCH_LIMIT} events. Split it.`);
    }
    return items.map((item) =>
      input(
        () => openStructured(item),
        () => itemBytes(item, body),
      ),
    );
  }
  if (isStructured(headers)) return [input(() => openStructured(parseJson(body)))];
  if (isBinary(headers)) return [input(() => openBinary({ headers, body }))];
  throw new AppError(
    'unsupported_media_type',
    'Send a CloudEvent: application/cloudevents+json, application/cloudevents-batch+json, or ce- headers.',
  );
}

/**
 * Serializes one item of a batch. Falls back to the whole batch when the item is nested too deeply for JSON.stringify.
 */
function itemBytes(item: unknown, batch: Buffer): Buffer {
  try {
    return Buffer.from(JSON.stringify(item));
  } catch {
    return batch;
  }
}

function rethrow(error: unknown): never {
  throw error;
}

function toResult(outcome: Outcome): EventResult {
  if (outcome.kind === 'accepted') {
    return { status: outcome.isDuplicate ? 'duplicate' : 'accepted', log_id: outcome.logId };
  }
  if (outcome.kind === 'recorded') return { status: 'accepted' };
  const { rejectionId, reason, message } = outcome;
  return { status: 'rejected', rejected_event_id: rejectionId, error_code: reason, message };
}

/** Returns the headers that describe the event. Credentials are left out, because these headers are stored. */
function eventHeaders(request: FastifyRequest): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    const isEventHeader = name.startsWith('ce-') || name === 'content-type';
    if (isEventHeader && typeof value === 'string') headers[name] = value;
  }
  return headers;
}

function asAppError(error: Error & { statusCode?: number }): AppError {
  if (error instanceof AppError) return error;
  if (error.statusCode === 413) {
    return new AppError(
      'payload_too_large',
      `The request body exceeds the limit of ${BODY_LIMIT} bytes. Split the batch.`,
    );
  }
  if (error.statusCode === 415) return new AppError('unsupported_media_type', error.message);
  if (error.statusCode !== undefined && error.statusCode < 500) return new AppError('validation_failed', error.message);
  return new AppError('unavailable', 'The events could not be stored. Send them again.', { cause: error });
}
