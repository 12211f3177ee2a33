import type { Database, Transaction } from '../database/database.ts';
import { validationFailed } from '../errors.ts';
import { isUuid, newId } from '../ids.ts';
import type { Channel } from '../intake/channel.ts';
import { checkFilter, findPage, idCursor, keysetQuery, type Page, type PageArgs, toPage } from '../paging/page.ts';
import { buildEmail } from './email.ts';
import { isHtmlBody } from './render.ts';
import { chooseParts, isShared, readShared, type SharedTemplate } from './shared-parts.ts';
import { findPublished, type NotificationTemplate } from './published.ts';
import { NotificationTemplateVersionEntity, type StoredTemplateVersion } from './template.entity.ts';

/** One version of a template. `page` is set only for the newest version. */
export type TemplateVersion = Omit<StoredTemplateVersion, 'template' | 'tenantId'>;

export interface TemplateFilter {
  eventCode?: string | null | undefined;
  channels?: Channel[] | null | undefined;
  locale?: string | null | undefined;
  isActive?: boolean | null | undefined;
}

export interface Templates {
  list(tenantId: string, args: PageArgs, filter?: TemplateFilter | null): Promise<Page<NotificationTemplate>>;
  /** Returns templates in the order of `ids`; null for an id that does not exist in this tenant. */
  findMany(tenantId: string, ids: readonly string[]): Promise<(NotificationTemplate | null)[]>;
  /** Returns up to 100 versions of each template, newest first, in the order of `ids`. */
  versionsOf(tenantId: string, ids: readonly string[]): Promise<TemplateVersion[][]>;
  /** Returns one version of a template; null if it does not exist in this tenant. */
  findVersion(tenantId: string, templateId: string, version: number): Promise<StoredTemplateVersion | null>;
  /**
   * Creates the templates that do not exist and publishes a new version of those whose text differs. Emails use layouts
   * and partials of the same call. @throws `validation_failed` when an email cannot be built.
   */
  publish(tenantId: string, templates: TemplateText[], updatedBy: string | null): Promise<void>;
}

/** Input of {@link Templates.publish}. */
export interface TemplateText {
  eventCode: string;
  channel: Channel;
  locale: string;
  subject?: string | null;
  body: string;
  text?: string | null;
  defaultParams?: Record<string, unknown>;
}

/** Maximum number of versions of a template that are returned. */
const MAX_VERSIONS = 100;

/** The newest versions of each of many templates: a limit per template needs a lateral join. */
const READ_VERSIONS = `select v.template_id as "templateId", v.version, v.subject, v.body, v.text,
    v.default_params::json as "defaultParams", v.created_at as "createdAt", v.created_by as "createdBy",
    case when v.version = max(v.version) over (partition by v.template_id) then v.page end as page
  from unnest($2::uuid[]) as wanted (id)
  cross join lateral (
    select * from notification_template_version
    where tenant_id = $1 and template_id = wanted.id order by version desc limit ${MAX_VERSIONS}
  ) v order by v.version desc`;

export function createTemplates({
  database,
  onChanged,
}: {
  database: Database;
  /** Called after a change is committed, to clear caches. */
  onChanged: (tenantId: string) => void;
}): Templates {
  return {
    list: (tenantId, args, filter) => {
      const query = keysetQuery(args, idCursor);
      checkFilter(filter);
      const { where, options } = findPage(query);
      const { eventCode, channels, locale, isActive } = filter ?? {};
      const wanted = {
        ...(isGiven(eventCode) && { eventCode }),
        ...(isGiven(channels) && { channel: { $in: channels } }),
        ...(isGiven(locale) && { locale }),
        ...(isGiven(isActive) && { isActive }),
      };
      return database.asTenant(tenantId, async ({ em }) =>
        toPage(await findPublished(em, { ...where, ...wanted, tenantId }, options), query),
      );
    },

    findMany: async (tenantId, ids) => {
      const valid = ids.filter((id) => isUuid(id));
      if (valid.length === 0) return ids.map(() => null);
      const rows = await database.asTenant(tenantId, ({ em }) =>
        findPublished(em, { tenantId, id: { $in: [...new Set(valid)] } }),
      );
      const byId = new Map(rows.map((row) => [row.template.id, row]));
      return ids.map((id) => byId.get(id.toLowerCase()) ?? null);
    },

    versionsOf: async (tenantId, ids) => {
      const rows = await database.asTenant(tenantId, (tx) =>
        tx.query<TemplateVersion & { templateId: string }>(READ_VERSIONS, [tenantId, ids]),
      );
      const byTemplate = Map.groupBy(rows, (row) => row.templateId);
      return ids.map((id) => byTemplate.get(id) ?? []);
    },

    findVersion: async (tenantId, templateId, version) =>
      isUuid(templateId)
        ? database.asTenant(tenantId, ({ em }) =>
            em.findOne(NotificationTemplateVersionEntity, { tenantId, template: templateId, version }),
          )
        : null,

    publish: async (tenantId, templates, updatedBy) => {
      const shared = await database.asTenant(tenantId, (tx) => readShared(tx, tenantId));
      const pages = await pagesOf(templates, shared);
      await database.asTenant(tenantId, (tx) => writePublished(tx, tenantId, templates, pages, updatedBy));
      onChanged(tenantId);
    },
  };
}

const isGiven = <Value>(value: Value | null | undefined): value is Value => value !== null && value !== undefined;

/** Does the same as {@link Templates.publish} within a transaction. */
export async function publishTemplates(
  tx: Transaction,
  tenantId: string,
  templates: TemplateText[],
  updatedBy: string | null,
): Promise<void> {
  const pages = await pagesOf(templates, await readShared(tx, tenantId));
  await writePublished(tx, tenantId, templates, pages, updatedBy);
}

/** Builds the page of each HTML email; null for other templates. */
async function pagesOf(templates: TemplateText[], published: SharedTemplate[]): Promise<(string | null)[]> {
  const fresh = templates.filter(({ eventCode, channel }) => channel === 'email' && isShared(eventCode));
  const pages: (string | null)[] = [];
  for (const [index, { eventCode, channel, locale, body }] of templates.entries()) {
    if (isShared(eventCode) || !isHtmlBody(channel, body)) {
      pages.push(null);
      continue;
    }
    // oxlint-disable-next-line no-await-in-loop -- one after another, so that other callers get a turn in the thread
    const { html, problems } = await buildEmail({ body, locale, ...chooseParts([...published, ...fresh], locale) });
    if (html === null) throw validationFailed(problems.map((problem) => ({ path: `${index}.body`, ...problem })));
    pages.push(html);
  }
  return pages;
}

/**
 * A bundle may hold many templates: two statements write all of them. The first inserts and locks the templates, so that
 * concurrent calls for the same template run one after another.
 */
const INSERT_TEMPLATES = `insert into notification_template as t (id, tenant_id, event_code, channel, locale, revision, updated_by)
  select id, $1, event_code, channel, locale, 0, $2
  from jsonb_to_recordset($3::jsonb) as input (id uuid, event_code text, channel text, locale text)
  order by event_code, channel, locale
  on conflict (tenant_id, event_code, channel, locale) do update set updated_by = t.updated_by`;
const PUBLISH_CHANGED = `with input as (
    select t.id, coalesce(t.published_version, 0) as published, input.subject, input.body, input.text, input.default_params,
           input.page,
           t.revision + 1 as next
    from jsonb_to_recordset($3::jsonb) as input (event_code text, channel text, locale text, subject text,
      body text, text text, default_params jsonb, page text)
    join notification_template t
      on (t.tenant_id, t.event_code, t.channel, t.locale) = ($1, input.event_code, input.channel, input.locale)
  ), changed as (
    select input.* from input
    left join notification_template_version v on v.template_id = input.id and v.version = input.published
    where (v.subject, v.body, v.text, v.default_params)
      is distinct from (input.subject, input.body, input.text, input.default_params)
  ), versions as (
    insert into notification_template_version
      (template_id, version, tenant_id, subject, body, text, default_params, page, created_by)
    select id, next, $1, subject, body, text, default_params, page, $2 from changed
  )
  update notification_template t
  set published_version = changed.next, revision = changed.next, updated_at = now(), updated_by = $2
  from changed where t.id = changed.id`;

async function writePublished(
  tx: Transaction,
  tenantId: string,
  templates: TemplateText[],
  pages: (string | null)[],
  updatedBy: string | null,
): Promise<void> {
  const rows = templates.map((template, index) => ({
    id: newId(),
    event_code: template.eventCode,
    channel: template.channel,
    locale: template.locale,
    subject: template.subject ?? null,
    body: template.body,
    text: template.text ?? null,
    page: pages[index] ?? null,
    default_params: template.defaultParams ?? {},
  }));
  await tx.query(INSERT_TEMPLATES, [tenantId, updatedBy, JSON.stringify(rows)]);
  await tx.query(PUBLISH_CHANGED, [tenantId, updatedBy, JSON.stringify(rows)]);
}
