import { CloudEvent } from 'cloudevents';

import { parseExact, roundNumbers } from '../src/exact-json.ts';
import { EventRefused, type RawEvent } from './events/event.ts';

/** A received message, not yet validated. */
export interface Envelope {
  headers: Record<string, string>;
  body: Buffer;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Parses JSON without loss of digits. @throws {EventRefused} `malformed_event` when the bytes are not JSON in UTF-8. */
export function parseJson(body: Uint8Array): unknown {
  try {
    return parseExact(utf8.decode(body));
  } catch {
    throw new EventRefused('malformed_event', `the body of ${body.length} bytes is not JSON in UTF-8`);
  }
}

export const isStructured = (headers: Record<string, string>): boolean =>
  /^application\/cloudevents\+json\b/i.test(headers['content-type'] ?? '');

export const isBatch = (headers: Record<string, string>): boolean =>
  /^application\/cloudevents-batch\+json\b/i.test(headers['content-type'] ?? '');

export const isBinary = (headers: Record<string, string>): boolean =>
  headers['ce-specversion'] !== undefined || headers['ce-type'] !== undefined;

/**
 * Parses a CloudEvent 1.0 in binary mode: attributes are in `ce-` headers, data is in the body.
 * @throws {EventRefused}
 */
export function openBinary({ headers, body }: Envelope): RawEvent {
  const attributes = Object.entries(headers)
    .filter(([name]) => name.startsWith('ce-'))
    .map(([name, value]) => [name.slice('ce-'.length), value]);
  return fromAttributes(Object.fromEntries(attributes), parseJson(body));
}

/**
 * Parses a CloudEvent 1.0 in structured mode, or one item of a batch.
 * @throws {EventRefused}
 */
export function openStructured(json: unknown): RawEvent {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new EventRefused('malformed_event', 'a CloudEvent must be a JSON object');
  }
  const { data, data_base64: base64, ...attributes } = json as Record<string, unknown>;
  const payload = typeof base64 === 'string' ? parseJson(Buffer.from(base64, 'base64')) : data;
  return fromAttributes(roundNumbers(attributes), payload);
}

const REQUIRED = ['specversion', 'id', 'source', 'type'];

function fromAttributes(attributes: Record<string, unknown>, payload: unknown): RawEvent {
  // Checked before the library is used, because it generates a missing id, which would differ when the event is resent.
  const missing = REQUIRED.filter((name) => typeof attributes[name] !== 'string' || attributes[name] === '');
  if (missing.length > 0) throw new EventRefused('malformed_event', `not a CloudEvent: ${missing.join(', ')} missing`);
  if (attributes['specversion'] !== '1.0') throw new EventRefused('malformed_event', 'specversion must be 1.0');
  const { type, source, id, traceparent } = checked(attributes);
  return {
    type,
    payload,
    position: [source, id],
    ...(typeof traceparent === 'string' ? { traceparent } : {}),
  };
}

function checked(attributes: Record<string, unknown>): CloudEvent<unknown> {
  try {
    return new CloudEvent(attributes);
  } catch (error) {
    throw new EventRefused('malformed_event', `not a CloudEvent 1.0: ${attributeProblem(error)}`);
  }
}

/** Returns the invalid attributes. The library's own message would contain the whole event. */
function attributeProblem(error: unknown): string {
  const problems = (error as { errors?: { instancePath?: string; message?: string }[] }).errors;
  if (!Array.isArray(problems) || problems.length === 0) return 'its attributes are invalid';
  return problems
    .map(({ instancePath, message }) => `${instancePath?.slice(1) ?? ''} ${message ?? ''}`.trim())
    .join('; ');
}
