import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { MikroORM, UniqueConstraintViolationException } from '@mikro-orm/postgresql';
import { Ajv } from 'ajv';
import addFormats from 'ajv-formats';

import { entities } from '../../src/database/entities.ts';
import { NotificationLogEntity } from '../../src/delivery/notification-log.entity.ts';
import { projectRoot } from '../../src/project-root.ts';

// One insert an event as in the documentation of MikroORM: one entity manager and one flush per event.

const TYPE = 'notification.triggered.v1';

interface TriggeredEvent {
  event_id: string;
  tenant_id: string;
  event_code: string;
  channel: string;
  recipient: string;
  params: Record<string, unknown>;
  trace_id: string;
  created_at: string;
}

export type StoreEvent = (payload: unknown) => Promise<{ status: 'accepted' | 'duplicate'; log_id?: string }>;

/** Connects to the database. The returned function validates and stores one event. */
export async function openTextbookStore(): Promise<StoreEvent> {
  const orm = await MikroORM.init({ entities, clientUrl: process.env['DATABASE_URL'] ?? '', pool: { max: 20 } });
  const ajv = new Ajv({ strict: false });
  addFormats.default(ajv);
  const schema = JSON.parse(readFileSync(join(projectRoot, `schema/events/${TYPE}.schema.json`), 'utf8')) as object;
  const validate = ajv.compile<TriggeredEvent>(schema);

  return async (payload) => {
    if (!validate(payload)) throw new Error(`invalid event: ${ajv.errorsText(validate.errors)}`);
    const em = orm.em.fork();
    const log = em.create(NotificationLogEntity, {
      id: randomUUID(),
      tenantId: payload.tenant_id,
      eventId: payload.event_id,
      eventType: TYPE,
      eventCode: payload.event_code,
      channels: [payload.channel],
      recipient: { email: payload.recipient },
      params: payload.params,
      status: 'queued',
      traceId: payload.trace_id,
      eventCreatedAt: new Date(payload.created_at),
    });
    try {
      await em.persist(log).flush();
      return { status: 'accepted', log_id: log.id };
    } catch (error) {
      if (error instanceof UniqueConstraintViolationException) return { status: 'duplicate' };
      throw error;
    }
  };
}
