import { type FieldProblem, validationFailed } from '../errors.ts';
import type { Actor } from '../identity/actor.ts';
import { newId } from '../ids.ts';
import type { Channel } from '../intake/channel.ts';
import { PRIORITIES, type Priority, type Recipient } from '../intake/command.ts';
import { checkRecipient } from '../intake/recipient.ts';
import { checkStorable } from '../intake/storable.ts';
import type { ClaimedLog } from './claim.ts';
import type { DeliveryMode } from './mode.ts';
import type { EvaluatedChannel } from './plan.ts';
import { planBatch, type PlanBatchOptions, type PlannedLog } from './plan-batch.ts';
import type { LogStatus } from './status.ts';

/** The fields of an event that delivery depends on. */
export interface HypotheticalEvent {
  eventCode: string;
  channels: Channel[];
  recipient: Recipient;
  params: Record<string, unknown>;
  category: string | null;
  priority: Priority;
  sendAt: Date | null;
  expiresAt: Date | null;
}

/** Result that an event would have, with the reasons. */
export interface Explanation {
  /** Status of the delivery record if its first attempt succeeds. */
  status: LogStatus;
  mode: DeliveryMode;
  channel: Channel | null;
  provider: string | null;
  errorCode: string | null;
  errorMessage: string | null;
  /** Reason for which the delivery would wait; null if it would not. */
  waitReason: string | null;
  /** End of the wait; null if it is not known or the delivery would not wait. */
  waitUntil: Date | null;
  /** The channels that were evaluated, in order. */
  evaluated: EvaluatedChannel[];
}

/**
 * Explains what would happen to an event that arrived now. Uses the planner of the dispatcher, and sends and writes
 * nothing.
 *
 * @throws `validation_failed` naming the field.
 */
export async function explainDelivery(
  planning: PlanBatchOptions,
  actor: Actor,
  event: HypotheticalEvent,
): Promise<Explanation> {
  const problems: FieldProblem[] = checkRecipient(event.recipient, (field) => `input.recipient.${field}`);
  const unstorable = checkStorable(event, 'input');
  if (unstorable) problems.push(unstorable);
  if (problems.length > 0) throw validationFailed(problems);
  const [planned] = await planBatch([toClaimedLog(actor, event)], planning);
  if (!planned) throw new Error('planBatch returned no plan for the row');
  return toExplanation(planned, event.sendAt);
}

function toClaimedLog(actor: Actor, { sendAt, priority, ...event }: HypotheticalEvent): ClaimedLog {
  const now = new Date();
  return {
    ...event,
    id: newId(),
    tenantId: actor.tenantId,
    eventId: newId(),
    isTest: true,
    audience: null,
    content: null,
    priority: PRIORITIES.indexOf(priority),
    collapseKey: null,
    attempts: 0,
    route: null,
    step: 0,
    stepAttempts: 0,
    provider: null,
    excludedProviders: [],
    claims: 1,
    unknownSince: null,
    errorCode: null,
    errorMessage: null,
    traceId: newId(),
    triggerBy: actor.userId,
    createdAt: now,
    scheduledAt: sendAt ?? now,
    leaseToken: newId(),
  };
}

function toExplanation({ plan, mode }: PlannedLog, sendAt: Date | null): Explanation {
  const base: Explanation = {
    status: 'queued',
    mode,
    channel: 'channel' in plan ? (plan.channel ?? null) : null,
    provider: plan.kind === 'send' ? plan.provider.name : null,
    errorCode: null,
    errorMessage: null,
    waitReason: null,
    waitUntil: null,
    evaluated: plan.evaluated,
  };
  if (plan.kind === 'end') {
    return { ...base, status: plan.status, errorCode: plan.errorCode, errorMessage: plan.errorMessage };
  }
  if (sendAt && sendAt > new Date()) return { ...base, waitReason: 'send_at', waitUntil: sendAt };
  if (mode === 'hold') return { ...base, waitReason: 'hold' };
  if (plan.kind === 'wait') return { ...base, waitReason: plan.reason, waitUntil: plan.until };
  const status = plan.step > 0 ? 'sent_fallback' : 'sent';
  return plan.kind === 'inbox' ? { ...base, status, channel: 'in_app' } : { ...base, status };
}
