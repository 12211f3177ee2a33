import type { FieldProblem } from '../../src/errors.ts';
import { roundNumbers } from '../../src/exact-json.ts';
import type { Revocation } from '../../src/identity/revocations.ts';
import type { NotificationCommand } from '../../src/intake/command.ts';
import type { Feedback } from '../../src/intake/feedback.ts';
import type { RejectionReason } from '../../src/intake/rejected-event.entity.ts';

/** The content of a Kafka message or CloudEvent, without its envelope. */
export interface RawEvent {
  /** Name of the topic, or `type` of a CloudEvent. */
  type: string;
  payload: unknown;
  /** W3C trace context of the envelope. */
  traceparent?: string | undefined;
  /** Identifies the message when the event has no id: topic, partition and offset, or source and id. */
  position: readonly (string | number)[];
}

/** An event for the service itself, which is not delivered. */
export type ControlEvent =
  | { kind: 'config-updated'; tenantId: string }
  | { kind: 'token-revoked'; tenantId: string; revocation: Revocation };

export type ParsedEvent =
  | { kind: 'command'; command: NotificationCommand }
  | ControlEvent
  | { kind: 'feedback'; feedback: Feedback };

export type EventParser = (event: RawEvent) => ParsedEvent;

/** The event is invalid. The message contains paths but no values. */
export class EventRefused extends Error {
  readonly reason: RejectionReason;
  readonly fields: FieldProblem[];

  constructor(reason: RejectionReason, problems: FieldProblem[] | string) {
    const fields = typeof problems === 'string' ? [] : problems;
    super(typeof problems === 'string' ? problems : fields.map((field) => `${field.path} ${field.message}`).join('; '));
    this.name = 'EventRefused';
    this.reason = reason;
    this.fields = fields;
  }
}

/** Returns the fields that the schema does not define. They are kept, because the producer may be newer than we are. */
export function unknownFields(payload: object, known: ReadonlySet<string>): Record<string, unknown> | undefined {
  const extra = Object.entries(payload).filter(([key]) => !known.has(key));
  return extra.length > 0 ? Object.fromEntries(extra) : undefined;
}

/** Refuses an event whose field `version` contradicts its type. `1`, `"1"`, `"v1"` and `"1.x"` mean version 1. */
export function checkVersion(version: unknown, expected: number): void {
  if (version === undefined || version === null) return;
  if (/^v?(\d+)(\.\d+)*$/.exec(String(roundNumbers(version)))?.[1] === String(expected)) return;
  throw new EventRefused('unsupported_version', [{ path: 'version', message: `must be ${expected}` }]);
}
