import { randomUUID } from 'node:crypto';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { type Database, openDatabase } from '../../src/database/database.ts';
import { AppError } from '../../src/errors.ts';
import type { NotificationCommand } from '../../src/intake/command.ts';
import { createIntake, type Input, type Intake, type Outcome } from '../../src/intake/intake.ts';
import { memoryBus } from '../../src/live/bus-memory.ts';
import { createLog } from '../../src/log.ts';
import { testDatabase } from '../support/service.ts';
import { sql } from '../support/sql.ts';
import type { TestDatabase } from '../support/template-database.ts';

describe('concurrent calls of `take`', () => {
  let files: TestDatabase;
  let database: Database;
  let intake: Intake;
  let transactions = 0;
  beforeAll(async () => {
    files = await testDatabase();
    database = openDatabase({
      url: files.loginUrl,
      log: createLog('silent'),
      onTransaction: () => (transactions += 1),
    });
    intake = createIntake({ database, bus: memoryBus(), log: createLog('silent') });
  });
  afterAll(async () => {
    await intake.drain();
    await database.close();
    await files.drop();
  });
  beforeEach(() => (transactions = 0));

  const event = (changes: Partial<NotificationCommand> = {}): Input & { kind: 'command' } => {
    const command: NotificationCommand = {
      tenantId: 'tenant-a',
      eventId: randomUUID(),
      eventType: 'notification.triggered.v1',
      eventCode: 'user.welcome',
      isTest: false,
      channels: ['email'],
      recipient: { email: 'anna@example.com' },
      params: {},
      priority: 'normal',
      traceId: 'trace',
      createdAt: new Date(),
      ...changes,
    };
    const { tenantId } = command;
    return {
      kind: 'command',
      command,
      asRejection: (message) => ({
        reason: 'validation_failed',
        message,
        raw: Buffer.from('raw'),
        headers: {},
        tenantId,
        source: { kind: 'http' },
      }),
    };
  };
  const takeEach = (inputs: Input[]): Promise<PromiseSettledResult<Outcome[]>[]> =>
    Promise.allSettled(inputs.map((input) => intake.take([input])));

  it('share transactions, and each returns the delivery record of its own event', async () => {
    const inputs = Array.from({ length: 60 }, (_none, index) => event({ tenantId: `tenant-${index % 7}` }));
    const results = await takeEach(inputs);
    expect(transactions).toBeLessThan(10);
    const rows = await sql<{ id: string; event_id: string }>(files.url, 'select id, event_id from notification_log');
    const idOf = new Map(rows.map((row) => [row.event_id, row.id]));
    expect(results).toEqual(
      inputs.map(({ command }) => ({
        status: 'fulfilled',
        value: [{ kind: 'accepted', logId: idOf.get(command.eventId), isDuplicate: false }],
      })),
    );
  });

  it('store the same event once, and all return its record', async () => {
    const same = event();
    const outcomes = (await Promise.all(Array.from({ length: 10 }, () => intake.take([same])))).flat();
    expect(new Set(outcomes.map((outcome) => outcome.kind === 'accepted' && outcome.logId)).size).toBe(1);
    expect(outcomes.filter((outcome) => outcome.kind === 'accepted' && !outcome.isDuplicate)).toHaveLength(1);
  });

  it('reject only the event that the database refuses', async () => {
    const unstorable = event({ params: { text: '\u0000' } });
    const inputs = [
      ...Array.from({ length: 9 }, () => event()),
      unstorable,
      ...Array.from({ length: 9 }, () => event()),
    ];
    const outcomes = (await Promise.all(inputs.map((input) => intake.take([input])))).flat();
    expect(outcomes.map(({ kind }) => kind)).toEqual(
      inputs.map((input) => (input === unstorable ? 'rejected' : 'accepted')),
    );
  });

  it('fail only for an event whose rejection is not stored', async () => {
    const refusal = new AppError('validation_failed', 'The notification cannot be stored.');
    const test: Input = {
      ...event({ params: { text: '\u0000' } }),
      asRejection: () => {
        throw refusal;
      },
    };
    const results = await takeEach([event(), test, event()]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(results[1]).toMatchObject({ reason: refusal });
  });
});
