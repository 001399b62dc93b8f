"""Question -> what is quoted, written and checked, sentence by sentence; the saved chats."""
