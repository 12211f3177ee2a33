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
import type { PolicyScope as Scope } from '../../src/inbox/policy-definition.entity.ts';
import { idCursor } from '../../src/paging/page.ts';
import { connectionOf, Paged, PageArgs, toConnection } from '../server/connection.ts';
import { type GraphContext, signedIn } from '../server/context.ts';
import { PolicyScope } from '../server/enums.ts';
import { Costs, Requires } from '../server/requires.ts';

@ObjectType({
  description:
    'Assigns a user a role in a merchant or an organization. The service uses it to find the recipients of an event that is addressed to a role.',
})
export class PolicyDefinition {
  @Field(() => ID, { description: 'ID of the policy definition.' })
  id!: string;

  @Field(() => ID, { description: 'ID of the user who has the role.' })
  userId!: string;

  @Field(() => String, { description: 'Name of the role.' })
  role!: string;

  @Field(() => PolicyScope, { description: 'Whether the role applies to a merchant or to an organization.' })
  scope!: Scope;

  @Field(() => ID, { description: 'ID of the merchant or organization.' })
  scopeId!: string;
}

@InputType({ description: 'Role of a user in a merchant or an organization.' })
export class PolicyDefinitionInput {
  @Field(() => ID, { description: 'ID of the user who has the role.' })
  userId!: string;

  @Field(() => String, { description: 'Name of the role.' })
  role!: string;

  @Field(() => PolicyScope, { description: 'Whether the role applies to a merchant or to an organization.' })
  scope!: Scope;

  @Field(() => ID, { description: 'ID of the merchant or organization.' })
  scopeId!: string;
}

@InputType({ description: 'Policy definitions to import from another system.' })
export class ImportPolicyDefinitionsInput {
  @Field(() => [PolicyDefinitionInput], { description: 'Policy definitions to import; at most 10 000.' })
  definitions!: PolicyDefinitionInput[];

  @Field(() => Boolean, {
    defaultValue: false,
    description:
      'When true, the list is complete for each merchant and organization in it: the import removes every other definition of these. When false, the import only adds definitions.',
  })
  isWhole!: boolean;
}

@ObjectType({ description: 'Result of an import of policy definitions.' })
export class PolicyDefinitionImport {
  @Field(() => Int, { description: 'Number of definitions that were added.' })
  added!: number;

  @Field(() => Int, { description: 'Number of definitions that were removed.' })
  removed!: number;

  @Field(() => Int, { description: 'Number of imported definitions that already existed.' })
  unchanged!: number;
}

export const PolicyDefinitionConnection = connectionOf('PolicyDefinition', PolicyDefinition);

@ArgsType()
export class PolicyDefinitionsArgs extends PageArgs {
  @Field(() => ID, { nullable: true, description: 'Only definitions of the user with this ID.' })
  userId?: string | null;

  @Field(() => PolicyScope, {
    nullable: true,
    description: 'Only definitions for merchants, or only for organizations.',
  })
  scope?: Scope | null;

  @Field(() => ID, { nullable: true, description: 'Only definitions for the merchant or organization with this ID.' })
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
  @Query(() => PolicyDefinitionConnection, { description: 'Lists the policy definitions of the tenant, newest first.' })
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
  @Mutation(() => PolicyDefinitionImport, { description: 'Imports policy definitions in one transaction.' })
  importPolicyDefinitions(
    @Arg('input', () => ImportPolicyDefinitionsInput, { description: 'Definitions to import.' })
    { definitions, isWhole }: ImportPolicyDefinitionsInput,
    @Ctx() context: GraphContext,
  ): Promise<PolicyDefinitionImport> {
    return this.#core.policies.import(signedIn(context), definitions, { isWhole, traceId: context.traceId });
  }

  @Requires('notif.write.config')
  @Costs(10)
  @Mutation(() => Int, {
    description: 'Removes policy definitions. Returns the number of definitions that were removed.',
  })
  removePolicyDefinitions(
    @Arg('definitions', () => [PolicyDefinitionInput], { description: 'Policy definitions to remove; at most 10 000.' })
    definitions: PolicyDefinitionInput[],
    @Ctx() context: GraphContext,
  ): Promise<number> {
    return this.#core.policies.remove(signedIn(context), definitions, context.traceId);
  }
}
