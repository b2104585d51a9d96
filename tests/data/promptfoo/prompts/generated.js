module.exports = () => { throw new Error("imports run no code"); };
