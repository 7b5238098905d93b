"""The stores on DynamoDB, by pynamodb. Its items and errors stay in here."""
