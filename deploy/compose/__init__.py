"""What docker-compose.yml needs beside itself: made once, kept in .compose/."""
