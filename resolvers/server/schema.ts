import 'reflect-metadata';

import { buildSubgraphSchema, printSubgraphSchema } from '@apollo/subgraph';
import { printSchemaWithDirectives } from '@graphql-tools/utils';
import { type GraphQLSchema, parse } from 'graphql';
import { buildSchema, createResolversMap, getMetadataStorage } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import { validationFailed } from '../../src/errors.ts';
import { requirePermission } from '../../src/identity/actor.ts';
import { AuditEventResolver } from '../admin/audit-event.ts';
import { type GraphContext, signedIn } from './context.ts';
import { ChannelConfigResolver } from '../tenants/channel-config.ts';
import { ConnectedClientResolver } from '../admin/connected-client.ts';
import { DeliveryResolver } from '../delivery/delivery.ts';
import { DeliveryStatisticResolver } from '../delivery/delivery-statistic.ts';
import { ErasureResolver } from '../people/erasure.ts';
import { authChecker } from './permissions.ts';
import { InboxChangeResolver } from '../inbox/inbox-change.ts';
import { NotificationLogResolver, toLog } from '../delivery/notification-log.ts';
import { NotificationResolver, toNotification } from '../inbox/notification.ts';
import { NotificationTemplateResolver, toTemplate } from '../templates/notification-template.ts';
import { PolicyDefinitionResolver } from '../people/policy-definition.ts';
import { PreferenceResolver } from '../people/preference.ts';
import { RejectedEventResolver } from '../delivery/rejected-event.ts';
import { DateTime } from './scalars.ts';
import { TenantSettingsResolver } from '../tenants/tenant-settings.ts';
import { TemplateEditingResolver } from '../templates/template-editing.ts';
import { TopicMessageResolver } from '../subscriptions/topic-message.ts';
import { UserResolver } from '../people/user.ts';

const FEDERATION = `extend schema @link(url: "https://specs.apollo.dev/federation/v2.9",
  import: ["@key", "@shareable", "@tag", "@cost", "@listSize", "@authenticated", "@requiresScopes"])`;

/** All resolver classes. */
const RESOLVERS = [
  NotificationResolver,
  NotificationLogResolver,
  NotificationTemplateResolver,
  UserResolver,
  PreferenceResolver,
  DeliveryResolver,
  RejectedEventResolver,
  InboxChangeResolver,
  TopicMessageResolver,
  ConnectedClientResolver,
  PolicyDefinitionResolver,
  AuditEventResolver,
  DeliveryStatisticResolver,
  ErasureResolver,
  TemplateEditingResolver,
  ChannelConfigResolver,
  TenantSettingsResolver,
] as const;

interface Reference {
  id: string;
}

/** Resolves entity references of a gateway with the same look-ups as other fields. */
const references: Record<string, (reference: Reference, context: GraphContext) => unknown> = {
  Notification: async ({ id }, { loaders }) => {
    const row = await loaders.notification.load(id);
    return row && toNotification(row);
  },
  NotificationLog: async ({ id }, context) => {
    requirePermission(signedIn(context), 'notif.read.log');
    const row = await context.loaders.notificationLog.load(id);
    return row && toLog(row);
  },
  NotificationTemplate: async ({ id }, context) => {
    requirePermission(signedIn(context), 'notif.read.template');
    const row = await context.loaders.notificationTemplate.load(id);
    return row && toTemplate(row);
  },
  User: ({ id }) => ({ id }),
};

/** Builds the executable Federation 2 subgraph. Without a core it can be printed but not run. */
export async function buildGraph(core?: Core): Promise<GraphQLSchema> {
  const instances = new Map<unknown, object>(
    core === undefined ? [] : RESOLVERS.map((Resolver) => [Resolver, new Resolver(core)]),
  );
  // Lets graphql-js read plain properties. type-graphql would wrap each in a function that runs an empty middleware chain.
  for (const type of getMetadataStorage().objectTypes) type.simpleResolvers ??= true;
  const base = await buildSchema({
    resolvers: [...RESOLVERS],
    container: { get: (resolver) => instances.get(resolver) },
    authChecker,
    validate: false,
    scalarsMap: [{ type: Date, scalar: DateTime }],
    // Required by type-graphql, but not used: every subscription has its own iterator.
    pubSub: {
      publish: () => {},
      subscribe: () => {
        throw new Error('a subscription must define `subscribe`');
      },
    },
  });
  const resolvers = createResolversMap(base) as Record<string, Record<string, unknown>>;
  for (const [type, resolve] of Object.entries(references)) {
    resolvers[type] = {
      ...resolvers[type],
      __resolveReference: ({ id }: Partial<Reference>, context: GraphContext) => resolve({ id: keyOf(id) }, context),
    };
  }
  const schema = buildSubgraphSchema([
    { typeDefs: parse(`${FEDERATION}\n${printSchemaWithDirectives(base)}`), resolvers: resolvers as never },
  ]);
  keepExtensions(base, schema);
  return schema;
}

/** Validates the id of a representation, which the schema does not type. */
function keyOf(id: unknown): string {
  if (typeof id === 'string' || typeof id === 'number') return String(id);
  throw validationFailed([{ path: 'representations.id', message: 'must be an ID' }]);
}

/** Copies the extensions of fields, which are lost when the schema is printed and parsed. */
function keepExtensions(from: GraphQLSchema, to: GraphQLSchema): void {
  for (const operation of ['query', 'mutation', 'subscription'] as const) {
    const fields = to.getRootType(operation as never)?.getFields() ?? {};
    for (const [name, field] of Object.entries(from.getRootType(operation as never)?.getFields() ?? {})) {
      const target = fields[name];
      if (target) target.extensions = field.extensions;
    }
  }
}

/** Prints the SDL for `schema/subgraph.graphql` and `_service`. */
export const printGraph = (schema: GraphQLSchema): string => `${printSubgraphSchema(schema).trim()}\n`;
