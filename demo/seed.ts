import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { parse } from 'yaml';

import type { DevIdentity } from '../src/identity/dev-keys.ts';
import { PERMISSIONS } from '../src/identity/permissions.ts';
import type { Service } from '../src/service.ts';
import { projectRoot } from '../src/project-root.ts';
import type { TemplateText } from '../src/templates/templates.ts';
import type { SettingsChanges } from '../src/tenants/settings.ts';

interface DemoTenant extends SettingsChanges {
  tenantId: string;
  templates: TemplateText[];
}

export interface DemoTokens {
  tenantId: string;
  /** The person whose inbox is watched. */
  userId: string;
  user: string;
  admin: string;
  producer: string;
}

/** Gives the demo tenant its templates, and its settings where it has none. Doing it again changes nothing. */
export async function seedDemoTenant({ core }: Service): Promise<{ tenantId: string }> {
  const text = await readFile(join(projectRoot, 'demo', 'tenant.yaml'), 'utf8');
  const { tenantId, templates, ...settings } = parse(text) as DemoTenant;
  const current = (await core.settings.load([tenantId])).get(tenantId);
  const hasSettings = Object.keys(current?.categories ?? {}).length > 0;
  if (!hasSettings) await core.settings.save(tenantId, settings, { userId: 'demo' });
  await core.templates.publish(tenantId, templates, 'demo');
  return { tenantId };
}

/** The person whose inbox is watched, and the admin. */
export const DEMO_USER = 'user-001';
export const DEMO_ADMIN = 'admin-001';

/** One token for each of the three who use the service. */
export async function demoTokens(identity: DevIdentity, tenantId: string): Promise<DemoTokens> {
  const userId = DEMO_USER;
  return {
    tenantId,
    userId,
    user: await identity.issueToken({ sub: userId, tenant_id: tenantId }),
    admin: await identity.issueToken({ sub: DEMO_ADMIN, tenant_id: tenantId, permissions: [...PERMISSIONS] }),
    producer: await identity.issueToken({ sub: 'sale', tenant_id: tenantId, permissions: ['notif.ingest'] }),
  };
}
