import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { parse } from 'yaml';

import type { DevIdentity } from '../src/identity/dev-keys.ts';
import { PERMISSIONS } from '../src/identity/permissions.ts';
import type { Service } from '../src/service.ts';
import { projectRoot } from '../src/project-root.ts';
import type { TemplateText } from '../src/templates/templates.ts';

interface DemoTenant {
  tenantId: string;
  defaultLocale: string;
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

/** Gives the demo tenant its templates. Doing it again changes nothing. */
export async function seedDemoTenant({ core }: Service): Promise<{ tenantId: string }> {
  const text = await readFile(join(projectRoot, 'demo', 'tenant.yaml'), 'utf8');
  const { tenantId, defaultLocale, templates } = parse(text) as DemoTenant;
  await core.settings.save(tenantId, { defaultLocale }, { userId: 'demo' });
  await core.templates.publish(tenantId, templates, 'demo');
  return { tenantId };
}

/** One token for each of the three who use the service. */
export async function demoTokens(identity: DevIdentity, tenantId: string): Promise<DemoTokens> {
  const userId = 'user-001';
  return {
    tenantId,
    userId,
    user: await identity.issueToken({ sub: userId, tenant_id: tenantId }),
    admin: await identity.issueToken({ sub: 'admin-001', tenant_id: tenantId, permissions: [...PERMISSIONS] }),
    producer: await identity.issueToken({ sub: 'sale', tenant_id: tenantId, permissions: ['notif.ingest'] }),
  };
}
