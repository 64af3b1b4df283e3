"""What was protected, what was altered and who pays for it: judged from pictures alone, whoever wrote them."""
