"""Mock interviews: questions, marking, the session, FSRS cards."""
