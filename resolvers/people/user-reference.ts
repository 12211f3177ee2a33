import { Directive, Field, ID, ObjectType } from 'type-graphql';

/** What this subgraph knows of a user: the id. The identity subgraph owns the rest. */
@Directive('@key(fields: "id")')
@ObjectType('User', { description: 'A user of the platform. The identity subgraph owns the rest of it.' })
export class UserReference {
  @Field(() => ID, { description: 'User id: the `sub` of their token.' })
  id!: string;
}
