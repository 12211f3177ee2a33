import { Args, ArgsType, Ctx, Field, ID, InputType, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import { idCursor } from '../../src/paging/page.ts';
import { connectionOf, Paged, PageArgs, toConnection } from '../server/connection.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { Requires } from '../server/requires.ts';
import { DateTime, JSONObject } from '../server/scalars.ts';

@ObjectType({
  description: 'Audit record of an action in the tenant. It is written in the same transaction as the action.',
})
export class AuditEvent {
  @Field(() => ID, { description: 'ID of the audit event.' })
  id!: string;

  @Field(() => String, { description: 'Code of the action, for example `notification.template.updated`.' })
  action!: string;

  @Field(() => ID, {
    nullable: true,
    description: 'ID of the user who did the action; null when the service did it on its own.',
  })
  actorId!: string | null;

  @Field(() => String, { description: 'ID of the trace that the action belongs to.' })
  traceId!: string;

  @Field(() => DateTime, { description: 'When the action took place.' })
  timestamp!: Date;

  @Field(() => JSONObject, {
    description: 'Details of the action; the keys depend on `action`. Secrets and addresses are masked.',
  })
  details!: Record<string, unknown>;
}

@InputType({ description: 'Filter for audit events. An event must match every condition that is given.' })
export class AuditEventFilter {
  @Field(() => [String], { nullable: true, description: 'Only events with one of these action codes.' })
  actions?: string[] | null;

  @Field(() => ID, { nullable: true, description: 'Only actions of the user with this ID.' })
  actorId?: string | null;

  @Field(() => String, { nullable: true, description: 'Only events of the trace with this ID.' })
  traceId?: string | null;

  @Field(() => DateTime, { nullable: true, description: 'Only events at or after this time.' })
  after?: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'Only events before this time.' })
  before?: Date | null;
}

@ArgsType()
class AuditEventsArgs extends PageArgs {
  @Field(() => AuditEventFilter, { nullable: true, description: 'Only audit events that match this filter.' })
  filter?: AuditEventFilter | null;
}

const AuditEventConnection = connectionOf('AuditEvent', AuditEvent);

@Resolver(() => AuditEvent)
export class AuditEventResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @Requires('notif.read.audit')
  @Paged()
  @Query(() => AuditEventConnection, { description: 'Lists the audit events of the tenant, newest first.' })
  async auditEvents(@Args(() => AuditEventsArgs) args: AuditEventsArgs, @Ctx() context: GraphContext) {
    const page = await this.#core.audit.list(signedIn(context).tenantId, args, args.filter);
    return toConnection(
      page,
      idCursor,
      (row) => row.id,
      (row): AuditEvent => row,
    );
  }
}
