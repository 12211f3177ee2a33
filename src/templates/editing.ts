import { createTwoFilesPatch } from 'diff';

import { isEventCode } from '../intake/event-code.ts';
import { isLocale } from './locale.ts';
import { writeAudit } from '../audit/write.ts';
import type { Database, Transaction } from '../database/database.ts';
import { AppError, validationFailed } from '../errors.ts';
import { type Actor, mayDo } from '../identity/actor.ts';
import { isUuid, newId } from '../ids.ts';
import type { Channel } from '../intake/channel.ts';
import type { SharedParts } from './email.ts';
import { lintTemplate, type TemplateTexts } from './lint.ts';
import { isShared, readParts } from './shared-parts.ts';

/** What a version holds. */
export interface VersionText {
  subject: string | null;
  body: string;
  text: string | null;
  defaultParams: Record<string, unknown>;
}

export interface NewTemplate extends VersionText {
  eventCode: string;
  channel: Channel;
  locale: string;
}

/** What changes; what is not named stays as it was in the version before. */
export interface TemplateChanges extends Partial<VersionText> {
  /** The newest version that its editor had seen. */
  expectedVersion?: number;
}

/** Who does it, and in which trace. */
export interface By {
  actor: Actor;
  traceId: string;
}

export interface TemplateEditing {
  /** Makes a template with a first draft. @returns its id. @throws `validation_failed`, or `conflict` where it is there. */
  create(template: NewTemplate, by: By): Promise<string>;
  /** Makes a new draft. @throws `validation_failed`, `not_found`, or `conflict` where somebody else was faster. */
  update(id: string, changes: TemplateChanges, by: By): Promise<void>;
  /** Makes a version, also an older one, the one that is sent. @throws `not_found` */
  publish(id: string, version: number, by: By): Promise<void>;
  /** @throws `not_found` */
  setActive(id: string, isActive: boolean, by: By): Promise<void>;
  /** What a tenant's emails have in common, in the language that fits best. */
  sharedParts(tenantId: string, locale: string): Promise<SharedParts>;
}

/** Characters of the diff that goes into the audit. */
const MAX_DIFF = 16_000;
/** Lines that differ: telling them apart takes the square of their number. */
const MAX_EDITS = 400;

interface Stored extends VersionText {
  id: string;
  eventCode: string;
  channel: Channel;
  locale: string;
  isActive: boolean;
  publishedVersion: number | null;
  latestVersion: number;
}

export function createTemplateEditing({
  database,
  onChanged,
}: {
  database: Database;
  /** Called once a change is committed, so that nobody sends from what is cached. */
  onChanged: (tenantId: string) => void;
}): TemplateEditing {
  const change = async <T>({ actor }: By, work: (tx: Transaction) => Promise<T>): Promise<T> => {
    const result = await database.asTenant(actor.tenantId, work);
    onChanged(actor.tenantId);
    return result;
  };

  return {
    create: async (template, by) => {
      const problems = [];
      if (!isEventCode(template.eventCode)) {
        problems.push({ path: 'input.eventCode', message: 'must be letters, digits, dots, dashes or underscores' });
      }
      if (!isLocale(template.locale)) {
        problems.push({ path: 'input.locale', message: 'must be a language tag, e.g. vi-VN' });
      }
      const parts = await database.asTenant(by.actor.tenantId, (tx) =>
        readParts(tx, by.actor.tenantId, template.locale),
      );
      const { page, problems: found } = await lintFor(by.actor, template, parts);
      problems.push(...found);
      if (problems.length > 0) throw validationFailed(problems);
      return change(by, async (tx) => {
        const { tenantId, userId } = by.actor;
        const [made] = await tx.query<{ id: string }>(
          `insert into notification_template (id, tenant_id, event_code, channel, locale, updated_by)
           values ($1, $2, $3, $4, $5, $6) on conflict (tenant_id, event_code, channel, locale) do nothing returning id`,
          [newId(), tenantId, template.eventCode, template.channel, template.locale, userId],
        );
        if (!made) throw new AppError('conflict', 'There is a template for this event, channel and language.');
        await insertVersion(tx, { ...template, id: made.id, page }, 1, by);
        await audit(
          tx,
          by,
          { ...template, id: made.id },
          { change: 'created', version: 1, diff: diffOf(null, template) },
        );
        return made.id;
      });
    },

    update: (id, { expectedVersion, ...changes }, by) =>
      change(by, async (tx) => {
        const stored = await lock(tx, by.actor.tenantId, id);
        if (expectedVersion !== undefined && expectedVersion !== stored.latestVersion) {
          throw new AppError('conflict', `The newest version is ${stored.latestVersion}, and not ${expectedVersion}.`, {
            details: { latest_version: stored.latestVersion },
          });
        }
        const next = { ...stored, ...changes };
        const parts = await readParts(tx, by.actor.tenantId, stored.locale);
        const { page, problems } = await lintFor(by.actor, next, parts);
        if (problems.length > 0) throw validationFailed(problems);
        const version = stored.latestVersion + 1;
        await insertVersion(tx, { ...next, page }, version, by);
        await touch(tx, id, by);
        await audit(tx, by, stored, { change: 'drafted', version, diff: diffOf(stored, next) });
      }),

    publish: (id, version, by) =>
      change(by, async (tx) => {
        const stored = await lock(tx, by.actor.tenantId, id);
        const wanted = await findVersion(tx, id, version);
        if (!wanted) throw versionNotFound(stored, version);
        if (stored.publishedVersion === version) return;
        const before =
          stored.publishedVersion === null ? undefined : await findVersion(tx, id, stored.publishedVersion);
        await tx.query(
          `update notification_template set published_version = $2, updated_at = now(), updated_by = $3 where id = $1`,
          [id, version, by.actor.userId],
        );
        await audit(tx, by, stored, {
          change: (stored.publishedVersion ?? 0) > version ? 'rolled_back' : 'published',
          version,
          was: stored.publishedVersion,
          diff: diffOf(before ?? null, wanted),
        });
      }),

    sharedParts: (tenantId, locale) => database.asTenant(tenantId, (tx) => readParts(tx, tenantId, locale)),

    setActive: (id, isActive, by) =>
      change(by, async (tx) => {
        const stored = await lock(tx, by.actor.tenantId, id);
        if (stored.isActive === isActive) return;
        await tx.query('update notification_template set is_active = $2 where id = $1', [id, isActive]);
        await touch(tx, id, by);
        await audit(tx, by, stored, {
          change: isActive ? 'activated' : 'deactivated',
          version: stored.publishedVersion,
        });
      }),
  };
}

const templateNotFound = (id: string): AppError =>
  new AppError('not_found', `This tenant has no template with the id ${JSON.stringify(id.slice(0, 64))}.`);

const versionNotFound = ({ eventCode, channel, locale, latestVersion }: Stored, version: number): AppError =>
  new AppError(
    'not_found',
    `Template \`${eventCode}\` (${channel}, ${locale}) has no version ${version}. Its newest version is ${latestVersion}.`,
  );

const lintFor = (actor: Actor, texts: TemplateTexts & { eventCode: string; locale: string }, parts: SharedParts) =>
  lintTemplate(texts, {
    mayUseRaw: mayDo(actor, 'notif.write.template.raw'),
    ...(!isShared(texts.eventCode) && { email: { locale: texts.locale, parts } }),
  });

/** The template with its newest text; nobody else changes it until the transaction is over. */
async function lock(tx: Transaction, tenantId: string, id: string): Promise<Stored> {
  if (!isUuid(id)) throw templateNotFound(id);
  await tx.query('select 1 from notification_template where tenant_id = $1 and id = $2 for update', [tenantId, id]);
  const [stored] = await tx.query<Stored>(
    `select t.id, t.event_code as "eventCode", t.channel, t.locale, t.is_active as "isActive",
       t.published_version as "publishedVersion", v.version as "latestVersion", v.subject, v.body, v.text,
       v.default_params as "defaultParams"
     from notification_template t join notification_template_version v on v.template_id = t.id
     where t.tenant_id = $1 and t.id = $2 order by v.version desc limit 1`,
    [tenantId, id],
  );
  if (!stored) throw templateNotFound(id);
  return stored;
}

async function findVersion(tx: Transaction, id: string, version: number): Promise<VersionText | undefined> {
  const [found] = await tx.query<VersionText>(
    `select subject, body, text, default_params as "defaultParams" from notification_template_version
     where template_id = $1 and version = $2`,
    [id, version],
  );
  return found;
}

const insertVersion = (
  tx: Transaction,
  text: VersionText & { id: string; page: string | null },
  version: number,
  { actor }: By,
) =>
  tx.query(
    `insert into notification_template_version
       (template_id, version, tenant_id, subject, body, text, default_params, created_by, page)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
    [
      text.id,
      version,
      actor.tenantId,
      text.subject,
      text.body,
      text.text,
      JSON.stringify(text.defaultParams),
      actor.userId,
      text.page,
    ],
  );

const touch = (tx: Transaction, id: string, { actor }: By) =>
  tx.query('update notification_template set updated_at = now(), updated_by = $2 where id = $1', [id, actor.userId]);

const audit = (
  tx: Transaction,
  { actor, traceId }: By,
  { id, eventCode, channel, locale }: Pick<Stored, 'id' | 'eventCode' | 'channel' | 'locale'>,
  details: Record<string, unknown>,
): Promise<void> =>
  writeAudit(tx, {
    actor,
    traceId,
    action: 'notification.template.updated',
    details: { template_id: id, event_code: eventCode, channel, locale, ...details },
  });

/** Line by line (unified), as reviewers read it. Where too much has changed to be told apart, all of it. */
export function diffOf(before: VersionText | null, after: VersionText): string {
  const [old, fresh] = [before ? page(before) : '', page(after)];
  const patch = createTwoFilesPatch('before', 'after', old, fresh, '', '', { context: 2, maxEditLength: MAX_EDITS });
  return (patch ?? whole(old, fresh)).slice(0, MAX_DIFF);
}

/** Half of the room for each. */
const whole = (before: string, after: string): string => [...prefixed('-', before), ...prefixed('+', after)].join('\n');

const prefixed = (sign: string, text: string): string[] =>
  text
    .slice(0, MAX_DIFF / 2)
    .split('\n')
    .map((line) => sign + line);

const page = ({ subject, body, text, defaultParams }: VersionText): string =>
  [`subject: ${subject ?? ''}`, body, `text: ${text ?? ''}`, `params: ${JSON.stringify(defaultParams)}`, ''].join('\n');
