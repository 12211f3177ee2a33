import { Args, ArgsType, Ctx, Field, ID, InputType, ObjectType, Query, Resolver } from 'type-graphql';

import type { Core } from '../../src/core.ts';
import { idCursor } from '../../src/paging/page.ts';
import { connectionOf, Paged, PageArgs, toConnection } from '../server/connection.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { Requires } from '../server/requires.ts';
import { DateTime, JSONObject } from '../server/scalars.ts';

@ObjectType({ description: 'Something that somebody did, written down in the transaction that did it.' })
export class AuditEvent {
  @Field(() => ID, { description: 'Its id.' })
  id!: string;

  @Field(() => String, { description: 'What was done, e.g. `notification.template.updated`.' })
  action!: string;

  @Field(() => ID, { nullable: true, description: 'Who did it; null where the service did it by itself.' })
  actorId!: string | null;

  @Field(() => String, { description: 'The trace that it belongs to.' })
  traceId!: string;

  @Field(() => DateTime, { description: 'When.' })
  timestamp!: Date;

  @Field(() => JSONObject, { description: 'What exactly. Secrets and addresses are masked.' })
  details!: Record<string, unknown>;
}

@InputType({ description: 'Which audit events to show. Conditions are joined by "and".' })
export class AuditEventFilter {
  @Field(() => [String], { nullable: true, description: 'Of one of these actions.' })
  actions?: string[] | null;

  @Field(() => ID, { nullable: true, description: 'Of this user.' })
  actorId?: string | null;

  @Field(() => String, { nullable: true, description: 'Of this trace.' })
  traceId?: string | null;

  @Field(() => DateTime, { nullable: true, description: 'At or after this time.' })
  after?: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'Before this time.' })
  before?: Date | null;
}

@ArgsType()
class AuditEventsArgs extends PageArgs {
  @Field(() => AuditEventFilter, { nullable: true, description: 'Which ones.' })
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
  @Query(() => AuditEventConnection, { description: 'What was done in the tenant, and by whom, newest first.' })
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
