import type { KafkaMessage } from 'kafkajs';

import { isBinary, isStructured, openBinary, openStructured, parseJson } from './envelope.ts';
import type { RawEvent } from './events/event.ts';
import { type DoorInput, toInput } from './inputs.ts';

/** Where a message stands, and the event type that its topic is for. */
export interface MessageOrigin {
  topic: string;
  partition: number;
  type: string;
}

/** One Kafka message, as bare JSON of its topic's type or as a CloudEvent in either mode, into one input. */
export function messageInput(message: KafkaMessage, { topic, partition, type }: MessageOrigin): DoorInput {
  const { offset } = message;
  const headers = headersOf(message);
  // A tombstone has no value; it is no event either.
  const body = message.value ?? Buffer.alloc(0);
  const open = (): RawEvent => {
    if (isStructured(headers)) return openStructured(parseJson(body));
    if (isBinary(headers)) return openBinary({ headers, body });
    const position = [topic, partition, offset];
    return { type, payload: parseJson(body), position, traceparent: headers['traceparent'] };
  };
  return toInput(open, {
    raw: () => body,
    headers,
    source: { kind: 'kafka', topic, partition, offset },
    eventType: type,
  });
}

/** Header names as HTTP spells them: the Kafka binding of CloudEvents writes `ce_type` for `ce-type`. */
function headersOf(message: KafkaMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(message.headers ?? {})) {
    const first = Array.isArray(value) ? value[0] : value;
    if (first !== undefined) headers[name.toLowerCase().replace(/^ce_/, 'ce-')] = first.toString();
  }
  return headers;
}
