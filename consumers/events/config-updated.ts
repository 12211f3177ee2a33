import type { EventParser } from './event.ts';
import { eventValidator } from './validate.ts';

/** Parses the event that another service has changed a tenant's configuration. */
export function configUpdated(type: string): EventParser {
  const validate = eventValidator<{ tenant_id: string }>(type);
  return ({ payload }) => ({ kind: 'config-updated', tenantId: validate(payload).tenant_id });
}
