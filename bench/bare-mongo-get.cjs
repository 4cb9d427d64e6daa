// The floor of `get --stored` over MongoDB: the bare driver reads one row. Usage: bare-mongo-get.cjs <uri> <user id>
const { MongoClient } = require("mongodb");

const [uri, user] = process.argv.slice(2);
const client = new MongoClient(uri);
void (async () => {
  const row = await client.db().collection("api_keys").findOne({ user_id: user });
  console.log(row.key_tail);
  await client.close();
})();
