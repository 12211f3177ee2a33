import type { EntityManager } from '@mikro-orm/postgresql';

import {
  NotificationTemplateVersionEntity,
  type StoredTemplate,
  type StoredTemplateVersion,
} from './template.entity.ts';

/** A template with its published version; null before the first publication. */
export interface NotificationTemplate {
  template: StoredTemplate;
  published: StoredTemplateVersion | null;
}

/** Adds the published version to each template, with one query for all of them. */
export async function withPublished(em: EntityManager, templates: StoredTemplate[]): Promise<NotificationTemplate[]> {
  const published = templates.flatMap(({ id, publishedVersion }) =>
    publishedVersion === null ? [] : [{ template: id, version: publishedVersion }],
  );
  const versions = published.length === 0 ? [] : await em.find(NotificationTemplateVersionEntity, { $or: published });
  const byTemplate = new Map(versions.map((version) => [version.template.id, version]));
  return templates.map((template) => ({ template, published: byTemplate.get(template.id) ?? null }));
}
