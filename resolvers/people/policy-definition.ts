import {
  Arg,
  Args,
  ArgsType,
  Ctx,
  Field,
  ID,
  InputType,
  Int,
  Mutation,
  ObjectType,
  Query,
  Resolver,
} from 'type-graphql';

import type { Core } from '../../src/core.ts';
import type { PolicyScope as Scope } from '../../src/inbox/policies.ts';
import { idCursor } from '../../src/paging/page.ts';
import { connectionOf, Paged, PageArgs, toConnection } from '../server/connection.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { PolicyScope } from '../server/enums.ts';
import { Costs, Requires } from '../server/requires.ts';

@ObjectType({ description: 'A user holds a role over a merchant or an organization. Audiences are made of these.' })
export class PolicyDefinition {
  @Field(() => ID, { description: 'Its id.' })
  id!: string;

  @Field(() => ID, { description: 'Who.' })
  userId!: string;

  @Field(() => String, { description: 'Which role.' })
  role!: string;

  @Field(() => PolicyScope, { description: 'Over what.' })
  scope!: Scope;

  @Field(() => ID, { description: 'Over which merchant or organization.' })
  scopeId!: string;
}

@InputType({ description: 'A user holds a role over a merchant or an organization.' })
export class PolicyDefinitionInput {
  @Field(() => ID, { description: 'Who.' })
  userId!: string;

  @Field(() => String, { description: 'Which role.' })
  role!: string;

  @Field(() => PolicyScope, { description: 'Over what.' })
  scope!: Scope;

  @Field(() => ID, { description: 'Over which merchant or organization.' })
  scopeId!: string;
}

@InputType({ description: 'Policy definitions that come from elsewhere.' })
export class ImportPolicyDefinitionsInput {
  @Field(() => [PolicyDefinitionInput], { description: 'The definitions; 10 000 at most.' })
  definitions!: PolicyDefinitionInput[];

  @Field(() => Boolean, {
    defaultValue: false,
    description:
      'They are all there is about each merchant and organization that they name: what else was known of these is removed.',
  })
  isWhole!: boolean;
}

@ObjectType({ description: 'What an import did.' })
export class PolicyDefinitionImport {
  @Field(() => Int, { description: 'Definitions that are new.' })
  added!: number;

  @Field(() => Int, { description: 'Definitions that were removed.' })
  removed!: number;

  @Field(() => Int, { description: 'Definitions that were known.' })
  unchanged!: number;
}

export const PolicyDefinitionConnection = connectionOf('PolicyDefinition', PolicyDefinition);

@ArgsType()
export class PolicyDefinitionsArgs extends PageArgs {
  @Field(() => ID, { nullable: true, description: 'Only of this user.' })
  userId?: string | null;

  @Field(() => PolicyScope, { nullable: true, description: 'Only over merchants, or organizations.' })
  scope?: Scope | null;

  @Field(() => ID, { nullable: true, description: 'Only over this one.' })
  scopeId?: string | null;
}

@Resolver(() => PolicyDefinition)
export class PolicyDefinitionResolver {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  @Requires('notif.write.config')
  @Paged()
  @Query(() => PolicyDefinitionConnection, { description: "The tenant's policy definitions, newest first." })
  async policyDefinitions(
    @Args(() => PolicyDefinitionsArgs) { userId, scope, scopeId, ...args }: PolicyDefinitionsArgs,
    @Ctx() context: GraphContext,
  ) {
    const page = await this.#core.policies.list(signedIn(context).tenantId, args, { userId, scope, scopeId });
    return toConnection(
      page,
      idCursor,
      (row) => row.id,
      (row): PolicyDefinition => row,
    );
  }

  @Requires('notif.write.config')
  @Costs(10)
  @Mutation(() => PolicyDefinitionImport, { description: 'Takes over who holds which role. All of it, or none.' })
  importPolicyDefinitions(
    @Arg('input', () => ImportPolicyDefinitionsInput, { description: 'What to take over.' })
    { definitions, isWhole }: ImportPolicyDefinitionsInput,
    @Ctx() context: GraphContext,
  ): Promise<PolicyDefinitionImport> {
    return this.#core.policies.import(signedIn(context), definitions, { isWhole, traceId: context.traceId });
  }

  @Requires('notif.write.config')
  @Costs(10)
  @Mutation(() => Int, { description: 'Takes roles away. Says how many there were.' })
  removePolicyDefinitions(
    @Arg('definitions', () => [PolicyDefinitionInput], { description: 'Which ones; 10 000 at most.' })
    definitions: PolicyDefinitionInput[],
    @Ctx() context: GraphContext,
  ): Promise<number> {
    return this.#core.policies.remove(signedIn(context), definitions, context.traceId);
  }
}
