"""chatcore: chats, runs, lanes and ledgers, shared by the Lambdas, the GPU worker and the tests."""
