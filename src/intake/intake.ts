import type { Database } from '../database/database.ts';
import { isRefusedData } from '../database/errors.ts';
import { type Bus, topics } from '../live/bus.ts';
import type { Log } from '../log.ts';
import { acceptCommands, type Accepted } from './accept.ts';
import type { NotificationCommand } from './command.ts';
import { type Feedback, recordFeedback } from './feedback.ts';
import { createGroupCommit } from './group-commit.ts';
import { recordRejections, type Rejection } from './reject.ts';

/** A parsed or rejected input. */
export type Input =
  | { kind: 'command'; command: NotificationCommand; asRejection: (message: string) => Rejection }
  | { kind: 'rejection'; rejection: Rejection }
  | { kind: 'feedback'; feedback: Feedback };

export type Outcome =
  | ({ kind: 'accepted' } & Accepted)
  | { kind: 'rejected'; rejectionId: string; reason: Rejection['reason']; message: string }
  /** Applied feedback, which creates no record. */
  | { kind: 'recorded' };

export interface Intake {
  /**
   * Stores a batch in one transaction, which concurrent calls share. An input that the database refuses is stored as
   * rejected, so that it does not block the others.
   *
   * @returns one outcome per input, in the same order, after the commit.
   * @throws when nothing could be stored, e.g. because the database cannot be reached. Then nothing may be acknowledged.
   */
  take(inputs: Input[]): Promise<Outcome[]>;
  /** Resolves when every batch that was passed to `take` is stored or refused. */
  drain(): Promise<void>;
}

export interface IntakeOptions {
  database: Database;
  bus: Bus;
  log: Log;
  /** Called for each new event. */
  onAccepted?: (tenantId: string) => void;
}

export function createIntake({ database, bus, log, onAccepted }: IntakeOptions): Intake {
  const store = (inputs: Input[]): Promise<Outcome[]> =>
    database.asWorker(async (tx) => {
      const commands = inputs.flatMap((input) => (input.kind === 'command' ? [input.command] : []));
      const rejections = inputs.flatMap((input) => (input.kind === 'rejection' ? [input.rejection] : []));
      const accepted = (await acceptCommands(tx, commands)).values();
      const rejectionIds = (await recordRejections(tx, rejections)).values();
      await recordFeedback(
        tx,
        inputs.flatMap((input) => (input.kind === 'feedback' ? [input.feedback] : [])),
      );
      return inputs.map((input): Outcome => {
        if (input.kind === 'command') return { kind: 'accepted', ...(accepted.next().value as Accepted) };
        if (input.kind === 'feedback') return { kind: 'recorded' };
        const { reason, message } = input.rejection;
        return { kind: 'rejected', rejectionId: rejectionIds.next().value as string, reason, message };
      });
    });

  /** Stores a batch. When the database refuses it, stores its two halves, until only the invalid input is refused. */
  const storeAround = async (inputs: Input[]): Promise<Outcome[]> => {
    try {
      return await store(inputs);
    } catch (error) {
      if (!isRefusedData(error)) throw error;
      const [only] = inputs;
      if (inputs.length > 1) {
        const middle = Math.ceil(inputs.length / 2);
        return [...(await storeAround(inputs.slice(0, middle))), ...(await storeAround(inputs.slice(middle)))];
      }
      if (only?.kind !== 'command') throw error;
      log.warn(
        { error, tenant_id: only.command.tenantId, event_id: only.command.eventId },
        'the database refused an event, it is stored as rejected',
      );
      return store([{ kind: 'rejection', rejection: only.asRejection('the event cannot be stored') }]);
    }
  };

  const announced =
    (write: (inputs: Input[]) => Promise<Outcome[]>) =>
    async (inputs: Input[]): Promise<Outcome[]> => {
      const outcomes = await write(inputs);
      announce(inputs, outcomes);
      return outcomes;
    };
  const announce = (inputs: Input[], outcomes: Outcome[]): void => {
    for (const [index, outcome] of outcomes.entries()) {
      const input = inputs[index] as Input;
      logOutcome(log, input, outcome);
      if (input.kind !== 'command' || outcome.kind !== 'accepted' || outcome.isDuplicate) continue;
      onAccepted?.(input.command.tenantId);
    }
    if (outcomes.some((outcome) => outcome.kind === 'accepted' && !outcome.isDuplicate)) {
      bus.publish(topics.due, null);
      for (const tenantId of changedTenants(inputs, outcomes)) bus.publish(topics.logs(tenantId.id), tenantId.logIds);
    }
  };
  const groups = createGroupCommit({ write: announced(store), writeRequest: announced(storeAround) });

  return {
    take: async (inputs) => (inputs.length === 0 ? [] : groups.add(tenantOf(inputs), inputs)),
    drain: () => groups.drain(),
  };
}

/** Returns the tenant of a batch; an empty text if it has none or several. */
function tenantOf(inputs: Input[]): string {
  const tenants = new Set(
    inputs.map((input) => {
      if (input.kind === 'command') return input.command.tenantId;
      return input.kind === 'feedback' ? input.feedback.tenantId : (input.rejection.tenantId ?? '');
    }),
  );
  const [only = ''] = tenants;
  return tenants.size === 1 ? only : '';
}

function changedTenants(inputs: Input[], outcomes: Outcome[]): { id: string; logIds: string[] }[] {
  const logIds = new Map<string, string[]>();
  for (const [index, outcome] of outcomes.entries()) {
    const input = inputs[index];
    if (outcome.kind !== 'accepted' || outcome.isDuplicate || input?.kind !== 'command') continue;
    const ids = logIds.get(input.command.tenantId);
    if (ids) ids.push(outcome.logId);
    else logIds.set(input.command.tenantId, [outcome.logId]);
  }
  return [...logIds].map(([id, ids]) => ({ id, logIds: ids }));
}

function logOutcome(log: Log, input: Input, outcome: Outcome): void {
  if (input.kind === 'command') {
    const { tenantId, traceId, eventId, eventType } = input.command;
    const fields = { tenant_id: tenantId, trace_id: traceId, event_id: eventId, event_type: eventType };
    if (outcome.kind === 'accepted') {
      log.info({ ...fields, log_id: outcome.logId }, outcome.isDuplicate ? 'event already accepted' : 'event accepted');
    }
  } else if (input.kind === 'rejection') {
    const { tenantId, eventType, reason, source } = input.rejection;
    log.warn({ tenant_id: tenantId, event_type: eventType, reason, source }, 'event rejected');
  }
}
