import type { Input } from '../src/intake/intake.ts';
import type { Rejection } from '../src/intake/reject.ts';
import { type ControlEvent, EventRefused, type ParsedEvent, type RawEvent } from './events/event.ts';
import { parseEvent } from './events/index.ts';

/** Metadata of a message, stored with it when it is rejected. */
export type Origin = Pick<Rejection, 'headers' | 'source'> & { raw: () => Buffer; eventType?: string };

export type MessageInput = Input | ControlEvent;

/** Applies an event for the service itself. Resolves when its effect is durable. */
export type Control = (event: ControlEvent) => Promise<void>;

export const isControl = (input: MessageInput): input is ControlEvent =>
  input.kind === 'config-updated' || input.kind === 'token-revoked';

/**
 * Parses one message. Returns a rejection for an invalid message instead of throwing, so that it does not affect other
 * messages.
 *
 * @param authorize checks that the sender may act for the tenant. Throws {@link EventRefused} when it may not.
 */
export function toInput(open: () => RawEvent, origin: Origin, authorize?: (tenantId: string) => void): MessageInput {
  let event: RawEvent | undefined;
  let tenantId: string | undefined;
  const rejection = (reason: Rejection['reason'], message: string): Rejection => ({
    reason,
    message,
    raw: origin.raw(),
    headers: origin.headers,
    source: origin.source,
    eventType: event?.type ?? origin.eventType,
    tenantId: tenantId ?? tenantIdIn(event?.payload),
  });
  try {
    event = open();
    const parsed = parseEvent(event);
    tenantId = tenantOf(parsed);
    authorize?.(tenantId);
    if (parsed.kind !== 'command') return parsed;
    return {
      kind: 'command',
      command: parsed.command,
      asRejection: (message) => rejection('validation_failed', message),
    };
  } catch (error) {
    if (!(error instanceof EventRefused)) throw error;
    return { kind: 'rejection', rejection: rejection(error.reason, error.message) };
  }
}

function tenantOf(parsed: ParsedEvent): string {
  switch (parsed.kind) {
    case 'command':
      return parsed.command.tenantId;
    case 'feedback':
      return parsed.feedback.tenantId;
    case 'config-updated':
    case 'token-revoked':
      return parsed.tenantId;
  }
}

/** Returns an `authorize` that accepts one tenant. */
export const onlyTenant =
  (allowed: string) =>
  (tenantId: string): void => {
    if (tenantId === allowed) return;
    throw new EventRefused('tenant_mismatch', [{ path: 'tenant_id', message: 'is not the tenant of the token' }]);
  };

/** Returns the tenant that an invalid event claims, so that its admins see the rejected event. */
function tenantIdIn(payload: unknown): string | undefined {
  if (typeof payload !== 'object' || payload === null) return undefined;
  const { tenant_id: snake, tenantId: camel } = payload as Record<string, unknown>;
  const claimed = snake ?? camel;
  return typeof claimed === 'string' && claimed.length <= 128 ? claimed : undefined;
}
