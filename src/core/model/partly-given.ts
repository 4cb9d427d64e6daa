/** Any of these fields. A field that is undefined is not given. */
export type PartlyGiven<Fields> = { readonly [Name in keyof Fields]?: Fields[Name] | undefined };
