import type { KafkaMessage } from 'kafkajs';

import { isBinary, isStructured, openBinary, openStructured, parseJson } from './envelope.ts';
import type { RawEvent } from './events/event.ts';
import { type MessageInput, toInput } from './inputs.ts';

/** Topic and partition of a message, and the event type of the topic. */
export interface MessageOrigin {
  topic: string;
  partition: number;
  type: string;
}

/** Parses a Kafka message: JSON of the topic's event type, or a CloudEvent in structured or binary mode. */
export function messageInput(message: KafkaMessage, { topic, partition, type }: MessageOrigin): MessageInput {
  const { offset } = message;
  const headers = headersOf(message);
  // A tombstone has no value. It is rejected like other invalid messages.
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

/** Converts header names to those of HTTP. The Kafka binding of CloudEvents uses `ce_type` for `ce-type`. */
function headersOf(message: KafkaMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(message.headers ?? {})) {
    const first = Array.isArray(value) ? value[0] : value;
    if (first !== undefined) headers[name.toLowerCase().replace(/^ce_/, 'ce-')] = first.toString();
  }
  return headers;
}
