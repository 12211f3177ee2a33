import { Directive, Field, ID, ObjectType } from 'type-graphql';

/** Federation reference to a user. The identity subgraph owns every field except the ID. */
@Directive('@key(fields: "id")')
@ObjectType('User', { description: 'A user of the platform. The identity subgraph provides the other fields.' })
export class UserReference {
  @Field(() => ID, { description: "ID of the user: the `sub` claim of the user's token." })
  id!: string;
}
