import { randomUUID } from 'node:crypto';

import type { Database } from '../../src/database/database.ts';
import { createAttemptOpener } from '../../src/delivery/attempts.ts';
import { type ClaimedLog, claimDue } from '../../src/delivery/claim.ts';
import { settleBatch, type Settlement } from '../../src/delivery/settle.ts';
import { foldStatistics } from '../../src/delivery/statistics-fold.ts';
import { newId } from '../../src/ids.ts';
import type { NotificationCommand } from '../../src/intake/command.ts';
import { createIntake, type Intake } from '../../src/intake/intake.ts';
import { createKeyring } from '../../src/keyring.ts';
import { memoryBus } from '../../src/live/bus-memory.ts';
import { createLog } from '../../src/log.ts';
import type { Step } from './measure.ts';

const BATCH = 200;
const CLAIMED = 100;

/** Returns one event for each number. The tenants take turns. */
export const commandsFor = (tenants: string[], first: number, count: number): NotificationCommand[] =>
  Array.from({ length: count }, (_none, index) => ({
    tenantId: tenants[(first + index) % tenants.length] as string,
    eventId: randomUUID(),
    eventType: 'notification.triggered.v2',
    eventCode: 'load.test',
    isTest: false,
    channels: ['email'],
    recipient: { email: `person-${first + index}@example.com`, user_id: `person-${(first + index) % 500}` },
    params: { name: `Person ${first + index}` },
    priority: 'normal',
    traceId: `growth-${first + index}`,
    createdAt: new Date(),
  }));

/** Accepts events through the intake of the service. */
export async function take(intake: Intake, commands: NotificationCommand[]): Promise<void> {
  const outcomes = await intake.take(
    commands.map((command) => ({
      kind: 'command',
      command,
      asRejection: () => {
        throw new Error('the database refused an event of the benchmark');
      },
    })),
  );
  if (!outcomes.every((outcome) => outcome.kind === 'accepted')) throw new Error('an event was not accepted');
}

/**
 * Fills a queue and returns one step that adds 201 events to it, and claims and settles 200 of them: 100 emails and 100
 * inbox notifications.
 *
 * @param tenants the tenants whose events are due.
 * @param label distinguishes the operations of several queues.
 */
export async function queueStep(database: Database, tenants: string[], depth: number, label: string): Promise<Step> {
  const intake = createIntake({ database, bus: memoryBus(), log: createLog('silent') });
  const settling = { database, settings: { load: async () => new Map() }, keyring: createKeyring([]) };
  const owner = newId();
  let taken = 0;
  let after = '';
  const add = async (count: number): Promise<void> => {
    await take(intake, commandsFor(tenants, taken, count));
    taken += count;
  };
  while (taken < depth) await add(Math.min(BATCH, depth - taken));

  const claim = async (): Promise<ClaimedLog[]> => {
    const claimed = await claimDue(database, {
      owner,
      limit: CLAIMED,
      leaseMs: 600_000,
      after,
      capacity: new Map(),
      defaultCapacity: CLAIMED,
    });
    after = claimed.after;
    return claimed.rows;
  };
  const open = async (rows: ClaimedLog[]): Promise<void> => {
    const opener = createAttemptOpener(database);
    const openings = rows.map((log) => {
      const opening = opener.open({
        log,
        channel: 'email',
        provider: 'smtp',
        route: ['email'],
        step: 0,
        deduplicates: false,
      });
      opening.start();
      return opening.isHeld;
    });
    await Promise.all(openings);
  };
  return async () => {
    const durations: Record<string, number> = {};
    const time = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
      const startedAt = performance.now();
      const result = await work();
      durations[`${name}${label}`] = performance.now() - startedAt;
      return result;
    };
    // The last tenants of a turn may have fewer due events. These are settled without being measured.
    const claimAll = async (name?: string): Promise<ClaimedLog[]> => {
      for (;;) {
        const rows = await (name === undefined ? claim() : time(name, claim));
        if (rows.length === CLAIMED) return rows;
        await settleBatch(settling, rows.map(asInboxEntry));
      }
    };
    await time(`intake of 1 event`, () => add(1));
    await time(`intake of ${BATCH} events`, () => add(BATCH));
    const mails = await claimAll(`claim of ${CLAIMED}`);
    await time(`opening of ${CLAIMED} attempts`, () => open(mails));
    await time(`settling of ${CLAIMED} emails`, () => settleBatch(settling, mails.map(asSentMail)));
    const entries = await claimAll();
    await time(`settling of ${CLAIMED} inbox notifications`, () => settleBatch(settling, entries.map(asInboxEntry)));
    await time('folding of the statistics', () => foldStatistics(database));
    return durations;
  };
}

const attempt = { number: 1, outcome: 'ok', durationMs: 20 } as const;

const asSentMail = (log: ClaimedLog): Settlement => ({
  log,
  status: 'sent',
  channel: 'email',
  attempt: { ...attempt, provider: 'smtp', providerMessageId: `<${log.id}@vas.example>` },
});

const asInboxEntry = (log: ClaimedLog): Settlement => ({
  log,
  status: 'sent',
  channel: 'in_app',
  attempt: { ...attempt, provider: 'inbox' },
  inbox: {
    logId: log.id,
    leaseToken: log.leaseToken,
    tenantId: log.tenantId,
    audience: { scope: 'users', userIds: [log.recipient.user_id as string] },
    content: { type: 'load.test', title: 'Your order', body: 'The order was paid in full.' },
    category: null,
    consent: 'not_needed',
  },
});
