import { type QueryOrderMap, sql } from '@mikro-orm/core';
import type { EntityManager, QBFilterQuery } from '@mikro-orm/postgresql';

import { NotificationTemplateEntity, type StoredTemplate, type StoredTemplateVersion } from './template.entity.ts';

/** A template with its published version; null before the first publication. */
export interface NotificationTemplate {
  template: StoredTemplate;
  published: StoredTemplateVersion | null;
}

/** Finds templates together with their published versions, in one query. */
export async function findPublished(
  em: EntityManager,
  where: QBFilterQuery<StoredTemplate>,
  { orderBy, limit }: { orderBy?: QueryOrderMap<StoredTemplate>; limit?: number } = {},
): Promise<NotificationTemplate[]> {
  const query = em
    .createQueryBuilder(NotificationTemplateEntity, 'template')
    .select('*')
    .leftJoinAndSelect('template.versions', 'published', {
      'published.version': sql.ref('template.published_version'),
    })
    .where(where);
  if (orderBy) query.orderBy(orderBy);
  if (limit !== undefined) query.limit(limit);
  const templates = await query.getResultList();
  return templates.map((template) => ({ template, published: template.versions.getItems()[0] ?? null }));
}
