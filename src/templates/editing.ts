import { LockMode, UniqueConstraintViolationException } from '@mikro-orm/core';
import { createTwoFilesPatch } from 'diff';

import { isEventCode } from '../intake/event-code.ts';
import { isLocale } from './locale.ts';
import { writeAudit } from '../audit/write.ts';
import type { Database, Transaction } from '../database/database.ts';
import { hasVersion } from '../database/optimistic-lock.ts';
import { AppError, validationFailed } from '../errors.ts';
import { type Actor, mayDo } from '../identity/actor.ts';
import { isUuid, newId } from '../ids.ts';
import type { Channel } from '../intake/channel.ts';
import type { SharedParts } from './email.ts';
import { lintTemplate, type TemplateTexts } from './lint.ts';
import { templateNotFound, versionNotFound } from './not-found.ts';
import { isShared, readParts } from './shared-parts.ts';
import {
  NotificationTemplateEntity,
  NotificationTemplateVersionEntity,
  type StoredTemplate,
  type StoredTemplateVersion,
} from './template.entity.ts';

/** The text of a version. */
export type VersionText = Pick<StoredTemplateVersion, 'subject' | 'body' | 'text' | 'defaultParams'>;

export interface NewTemplate extends VersionText {
  eventCode: string;
  channel: Channel;
  locale: string;
}

/** Changes to the newest version. Omitted fields keep their value. */
export interface TemplateChanges extends Partial<VersionText> {
  /** Newest version that the editor has read. When absent, it is not checked. */
  expectedVersion?: number;
}

/** The actor and the trace of a change, for the audit. */
export interface By {
  actor: Actor;
  traceId: string;
}

export interface TemplateEditing {
  /**
   * Creates a template with a first draft. @returns its id. @throws `validation_failed`, or `conflict` if it exists.
   */
  create(template: NewTemplate, by: By): Promise<string>;
  /** Adds a draft. @throws `validation_failed`, `not_found`, or `conflict` if `expectedVersion` is not the newest. */
  update(id: string, changes: TemplateChanges, by: By): Promise<void>;
  /** Publishes a version, which may be an older one. @throws `not_found` */
  publish(id: string, version: number, by: By): Promise<void>;
  /** @throws `not_found` */
  setActive(id: string, isActive: boolean, by: By): Promise<void>;
  /** Returns the layout and partials of the tenant's emails, in the best matching locale. */
  sharedParts(tenantId: string, locale: string): Promise<SharedParts>;
}

/** A version that is checked and built, and not stored yet. */
interface Draft {
  /** Number of the newest version that it is made from. */
  revision: number;
  before: VersionText;
  next: VersionText;
  page: string | null;
}

/** Maximum number of tries to add a draft while others add theirs. */
const MAX_TRIES = 20;
/** Maximum length of the diff in an audit event, in characters. */
const MAX_DIFF = 16_000;
/** Maximum number of differing lines: the time to compare them grows with its square. */
const MAX_EDITS = 400;

export function createTemplateEditing({
  database,
  onChanged,
}: {
  database: Database;
  /** Called after a change is committed, to clear caches. */
  onChanged: (tenantId: string) => void;
}): TemplateEditing {
  const change = async <T>({ actor }: By, work: (tx: Transaction) => Promise<T>): Promise<T> => {
    const result = await database.asTenant(actor.tenantId, work);
    onChanged(actor.tenantId);
    return result;
  };

  const prepareDraft = async (
    id: string,
    expectedVersion: number | undefined,
    changes: Partial<VersionText>,
    { actor }: By,
  ): Promise<Draft> => {
    const { template, before, parts } = await database.asTenant(actor.tenantId, async (tx) => {
      const found = await find(tx, actor.tenantId, id);
      if (!(await hasVersion(tx.em, found, expectedVersion))) throw outdated(found.revision, expectedVersion);
      const newest = await findVersion(tx, found, found.revision);
      if (!newest) throw versionNotFound(found, found.revision);
      return { template: found, before: textOf(newest), parts: await readParts(tx, actor.tenantId, found.locale) };
    });
    const { eventCode, channel, locale, revision } = template;
    const next: VersionText = { ...before, ...changes };
    const { page, problems } = await lintFor(actor, { eventCode, channel, locale, ...next }, parts);
    if (problems.length > 0) throw validationFailed(problems);
    return { revision, before, next, page };
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
        const { eventCode, channel, locale } = template;
        const created = tx.em.create(
          NotificationTemplateEntity,
          { id: newId(), tenantId, eventCode, channel, locale, publishedVersion: null, updatedBy: userId },
          { persist: true },
        );
        addVersion(tx, created, 1, { ...template, page }, by);
        try {
          await tx.em.flush();
        } catch (error) {
          if (!(error instanceof UniqueConstraintViolationException)) throw error;
          throw new AppError(
            'conflict',
            `Template \`${eventCode}\` (${channel}, ${locale}) already exists. Create a new version of it.`,
            { cause: error },
          );
        }
        await audit(tx, by, created, { change: 'created', version: 1, diff: diffOf(null, template) });
        return created.id;
      });
    },

    update: async (id, { expectedVersion, ...changes }, by) => {
      // Building an email takes long, so it happens before the transaction that locks the template.
      for (let tries = 1; ; tries += 1) {
        const draft = await prepareDraft(id, expectedVersion, changes, by);
        const isSaved = await change(by, (tx) => saveDraft(tx, id, draft, by));
        if (isSaved) return;
        if (expectedVersion !== undefined || tries === MAX_TRIES) throw outdated(draft.revision + 1, draft.revision);
      }
    },

    publish: (id, version, by) =>
      change(by, async (tx) => {
        const template = await lock(tx, by.actor.tenantId, id);
        const wanted = await findVersion(tx, template, version);
        if (!wanted) throw versionNotFound(template, version);
        const was = template.publishedVersion;
        if (was === version) return;
        const before = was === null ? null : await findVersion(tx, template, was);
        await updateState(tx, template, { publishedVersion: version }, by);
        await audit(tx, by, template, {
          change: (was ?? 0) > version ? 'rolled_back' : 'published',
          version,
          was,
          diff: diffOf(before, wanted),
        });
      }),

    sharedParts: (tenantId, locale) => database.asTenant(tenantId, (tx) => readParts(tx, tenantId, locale)),

    setActive: (id, isActive, by) =>
      change(by, async (tx) => {
        const template = await lock(tx, by.actor.tenantId, id);
        if (template.isActive === isActive) return;
        await updateState(tx, template, { isActive }, by);
        await audit(tx, by, template, {
          change: isActive ? 'activated' : 'deactivated',
          version: template.publishedVersion,
        });
      }),
  };
}

const lintFor = (actor: Actor, texts: TemplateTexts & { eventCode: string; locale: string }, parts: SharedParts) =>
  lintTemplate(texts, {
    mayUseRaw: mayDo(actor, 'notif.write.template.raw'),
    ...(!isShared(texts.eventCode) && { email: { locale: texts.locale, parts } }),
  });

async function find(
  { em }: Transaction,
  tenantId: string,
  id: string,
  options: { lockMode?: LockMode } = {},
): Promise<StoredTemplate> {
  const template = isUuid(id) ? await em.findOne(NotificationTemplateEntity, { tenantId, id }, options) : null;
  if (!template) throw templateNotFound(id);
  return template;
}

/** Returns the template. Other transactions that want to change it wait for the end of this one. */
const lock = (tx: Transaction, tenantId: string, id: string): Promise<StoredTemplate> =>
  find(tx, tenantId, id, { lockMode: LockMode.PESSIMISTIC_WRITE });

const outdated = (latest: number, expected: number | undefined): AppError =>
  new AppError('conflict', `The newest version is ${latest}, not ${expected}. Read it again.`, {
    details: { latest_version: latest },
  });

/** Adds the draft. @returns false when another version was added since the draft was prepared. */
async function saveDraft(
  tx: Transaction,
  id: string,
  { revision, before, next, page }: Draft,
  by: By,
): Promise<boolean> {
  const template = await lock(tx, by.actor.tenantId, id);
  if (template.revision !== revision) return false;
  const version = revision + 1;
  addVersion(tx, template, version, { ...next, page }, by);
  // The change of the template increments its `revision` to the number of the version that is added.
  Object.assign(template, edited(by));
  await tx.em.flush();
  await audit(tx, by, template, { change: 'drafted', version, diff: diffOf(before, next) });
  return true;
}

const findVersion = (
  { em }: Transaction,
  template: StoredTemplate,
  version: number,
): Promise<StoredTemplateVersion | null> => em.findOne(NotificationTemplateVersionEntity, { template, version });

const textOf = ({ subject, body, text, defaultParams }: VersionText): VersionText => ({
  subject,
  body,
  text,
  defaultParams,
});

function addVersion(
  { em }: Transaction,
  template: StoredTemplate,
  version: number,
  { page, ...text }: VersionText & { page: string | null },
  { actor: { tenantId, userId } }: By,
): void {
  const values = { template, version, tenantId, createdBy: userId, page, ...textOf(text) };
  em.create(NotificationTemplateVersionEntity, values, { persist: true });
}

/** Updates a template without a new text, so `revision` keeps its value. */
const updateState = (
  { em }: Transaction,
  { id, revision }: StoredTemplate,
  state: Partial<Pick<StoredTemplate, 'publishedVersion' | 'isActive'>>,
  by: By,
): Promise<number> => em.nativeUpdate(NotificationTemplateEntity, { id }, { ...state, revision, ...edited(by) });

const edited = ({ actor }: By) => ({ updatedAt: new Date(), updatedBy: actor.userId });

const audit = (
  tx: Transaction,
  { actor, traceId }: By,
  { id, eventCode, channel, locale }: StoredTemplate,
  details: Record<string, unknown>,
): Promise<void> =>
  writeAudit(tx, {
    actor,
    traceId,
    action: 'notification.template.updated',
    details: { template_id: id, event_code: eventCode, channel, locale, ...details },
  });

/** Returns a unified diff; when too many lines differ, all old lines and then all new lines. */
export function diffOf(before: VersionText | null, after: VersionText): string {
  const [old, fresh] = [before ? page(before) : '', page(after)];
  const patch = createTwoFilesPatch('before', 'after', old, fresh, '', '', { context: 2, maxEditLength: MAX_EDITS });
  // Cutting may leave half a surrogate pair, which the audit cannot store.
  return (patch ?? whole(old, fresh)).slice(0, MAX_DIFF).toWellFormed();
}

/** All lines of both texts; each text gets half of the maximum length. */
const whole = (before: string, after: string): string => [...prefixed('-', before), ...prefixed('+', after)].join('\n');

const prefixed = (sign: string, text: string): string[] =>
  text
    .slice(0, MAX_DIFF / 2)
    .split('\n')
    .map((line) => sign + line);

const page = ({ subject, body, text, defaultParams }: VersionText): string =>
  [`subject: ${subject ?? ''}`, body, `text: ${text ?? ''}`, `params: ${JSON.stringify(defaultParams)}`, ''].join('\n');
