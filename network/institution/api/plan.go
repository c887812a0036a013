package api

func (s *Server) plans() {}
