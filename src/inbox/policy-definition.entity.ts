import { defineEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';

/** Which user holds which role over which merchant or organization: the source of audiences. */
export const PolicyDefinitionEntity = defineEntity({
  name: 'PolicyDefinitionEntity',
  tableName: 'policy_definition',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    userId: p.text(),
    role: p.text(),
    /** `merchant` or `organization`. */
    scope: p.text(),
    scopeId: p.text(),
  },
  checks: [{ name: 'policy_definition_scope', expression: `scope in ('merchant', 'organization')` }],
  uniques: [
    {
      name: 'policy_definition_key',
      properties: ['tenantId', 'scope', 'scopeId', 'userId', 'role'],
    },
  ],
  ...tenantIsolation('policy_definition'),
});
