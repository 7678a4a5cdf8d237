// Has each message handled whose path is on a line of standard input, and writes what becomes of it beside it.
const fs = require('fs');
const readline = require('readline');

module.exports = async handle => {
  for await (const path of readline.createInterface({ input: process.stdin })) {
    try {
      fs.writeFileSync(`${path}.out`, await handle(fs.readFileSync(path)));
    } catch (error) {
      console.error(error);
    }
    console.log('done');
  }
};
