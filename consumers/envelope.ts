import { CloudEvent, HTTP } from 'cloudevents';

import { EventRefused, type RawEvent } from './events/event.ts';

/** One message as a door received it, before anything in it is believed. */
export interface Envelope {
  headers: Record<string, string>;
  body: Buffer;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** @throws {EventRefused} `malformed_event` when the bytes are not JSON in UTF-8. */
export function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(utf8.decode(body));
  } catch {
    throw new EventRefused('malformed_event', `${body.length} bytes that are not JSON in UTF-8`);
  }
}

export const isStructured = (headers: Record<string, string>): boolean =>
  /^application\/cloudevents\+json\b/i.test(headers['content-type'] ?? '');

export const isBatch = (headers: Record<string, string>): boolean =>
  /^application\/cloudevents-batch\+json\b/i.test(headers['content-type'] ?? '');

export const isBinary = (headers: Record<string, string>): boolean =>
  headers['ce-specversion'] !== undefined || headers['ce-type'] !== undefined;

/**
 * Opens a CloudEvent 1.0 in binary mode: attributes in `ce-` headers, data in the body.
 * @throws {EventRefused}
 */
export function openBinary({ headers, body }: Envelope): RawEvent {
  const payload = parseJson(body);
  // The library reads the attributes; the body, which it would decode leniently, is already ours.
  const attributes = Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith('ce-')));
  return fromEvent(() => HTTP.toEvent({ headers: attributes, body: '' }) as CloudEvent<unknown>, payload);
}

/**
 * Opens a CloudEvent 1.0 in structured mode, or one item of a batch.
 * @throws {EventRefused}
 */
export function openStructured(json: unknown): RawEvent {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new EventRefused('malformed_event', 'a CloudEvent must be a JSON object');
  }
  const { data, data_base64: base64, ...attributes } = json as Record<string, unknown>;
  const payload = typeof base64 === 'string' ? parseJson(Buffer.from(base64, 'base64')) : data;
  return fromEvent(() => new CloudEvent(attributes), payload);
}

function fromEvent(read: () => CloudEvent<unknown>, payload: unknown): RawEvent {
  let event: CloudEvent<unknown>;
  try {
    event = read();
  } catch (error) {
    throw new EventRefused('malformed_event', `not a CloudEvent 1.0: ${attributeProblem(error)}`);
  }
  if (event.specversion !== '1.0') throw new EventRefused('malformed_event', 'specversion must be 1.0');
  const traceparent = event['traceparent'];
  return {
    type: event.type,
    payload,
    position: [event.source, event.id],
    ...(typeof traceparent === 'string' ? { traceparent } : {}),
  };
}

/** Which attribute is wrong, without the library's dump of the whole event. */
function attributeProblem(error: unknown): string {
  const problems = (error as { errors?: { instancePath?: string; message?: string }[] }).errors;
  if (!Array.isArray(problems) || problems.length === 0) return 'its attributes are not valid';
  return problems
    .map(({ instancePath, message }) => `${instancePath?.slice(1) ?? ''} ${message ?? ''}`.trim())
    .join('; ');
}
