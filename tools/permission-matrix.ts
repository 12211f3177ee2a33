import { type GraphQLSchema, isObjectType } from 'graphql';

import { PERMISSION } from '../resolvers/server/requires.ts';

const OPERATIONS = ['Query', 'Mutation', 'Subscription'];

/** Who may run what, as a page of Markdown: worked out from what each field declares, which is also what is enforced. */
export function printPermissionMatrix(schema: GraphQLSchema): string {
  const rows = OPERATIONS.flatMap((root) => {
    const type = schema.getType(root);
    const fields = isObjectType(type) ? Object.values(type.getFields()) : [];
    return fields
      .filter(({ name }) => !name.startsWith('_'))
      .map((field) => ({ root, name: field.name, permission: field.extensions[PERMISSION] as string | null }))
      .toSorted((a, b) => a.name.localeCompare(b.name));
  });
  const line = (cells: string[]): string => `| ${cells.join(' | ')} |`;
  const table = [
    line(['operation', 'needs', 'no token', 'without it', 'with it', 'another tenant', 'superadmin']),
    line(Array.from({ length: 7 }, () => '---')),
    ...rows.map(({ root, name, permission }) =>
      line([
        `\`${root}.${name}\``,
        permission === null ? 'a token' : `\`${permission}\``,
        '401 `unauthenticated`',
        permission === null ? '–' : '403 `permission_denied`',
        'yes',
        '403 `tenant_mismatch`',
        permission === null ? 'yes, for themselves' : 'yes',
      ]),
    ),
  ];
  return `# Permissions

Written by \`npm run schema\` from what the fields declare, and tried cell by cell by \`test/resolvers/server/permissions.test.ts\`.
Another tenant is one that \`X-Tenant-ID\` names and the token does not: only a superadmin may, and leaves an audit event
\`tenant.accessed\` there each time. A row of another tenant does not exist: a query by its id answers \`null\`, a mutation
\`not_found\`.

${table.join('\n')}

\`_service\` and introspection need \`notif.read.schema\` outside of \`ENVIRONMENT=dev\`. \`_entities\` needs what the entity
needs: nothing but a token for a \`Notification\` of one's own inbox and for \`User\`, \`notif.read.log\` for a
\`NotificationLog\`, \`notif.read.template\` for a \`NotificationTemplate\`. \`POST /events\` needs \`notif.ingest\`.
`;
}
