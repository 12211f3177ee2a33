import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

import { tenantIsolation } from '../database/row-level-security.ts';

/** Values of `scope`: the kind of object to which a role applies. */
export const POLICY_SCOPES = ['merchant', 'organization'] as const;
export type PolicyScope = (typeof POLICY_SCOPES)[number];

/** A user's role over one merchant or organization. Audiences are resolved from these rows. */
export const PolicyDefinitionEntity = defineEntity({
  name: 'PolicyDefinitionEntity',
  tableName: 'policy_definition',
  properties: {
    id: p.uuid().primary(),
    tenantId: p.text(),
    userId: p.text(),
    role: p.text(),
    scope: p.text().$type<PolicyScope>(),
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

/** A stored policy definition. */
export type StoredPolicy = InferEntity<typeof PolicyDefinitionEntity>;
